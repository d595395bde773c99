"""Which experts each token of a forward pass went to: told to the pass, when it is to repeat what a sampler chose, or
read from it afterwards.

A trainer that chooses anew sends some tokens elsewhere than the sampler did, wherever two experts are nearly even and
rounding decides; repeating the choices keeps the two together (Ma et al., "Stabilizing MoE Reinforcement Learning by
Aligning Training and Inference Routers", 2025). The weights of the chosen experts are the trainer's own, so that the
gradient is right. Layers are counted among the mixtures only.
Axes: T tokens, L mixtures, K experts of a token, X experts.
"""

import array
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.types.arrays import Array


@dataclass(slots=True)
class Routing:
    """Of one forward pass."""

    given_TLK: Tensor | None = None
    """What to repeat; -1 where a token's experts are not given."""
    chosen: list[Tensor] = field(default_factory=list[Tensor])
    """Per mixture (T, K), once the pass is done."""

    def settle(self, own_TK: Tensor) -> Tensor:
        """The next mixture's choice, which by itself would be `own_TK`."""
        if self.given_TLK is not None:
            given_TK = self.given_TLK[:, len(self.chosen)]
            own_TK = torch.where((given_TK < 0).any(-1, keepdim=True), own_TK, given_TK)
        self.chosen.append(own_TK)
        return own_TK

    def all_chosen(self) -> Tensor:
        """(T, L, K)."""
        return torch.stack(self.chosen, 1)


def told(routes_TLK: Tensor) -> Array:
    """As an array at rest."""
    shape = (routes_TLK.shape[0], routes_TLK.shape[1], routes_TLK.shape[2])
    return Array("int32", shape, array.array("i", routes_TLK.flatten().tolist()).tobytes())


class Loads:
    """How evenly the tokens of a pass fell on the experts, by Tinker's measures."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        shape = (len(config.mixture.layers), config.mixture.experts) if config.mixture else (0, 0)
        self.counts_LX = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(self, routing: Routing, times_T: Tensor) -> None:
        """`times_T`: how many sequences have this token in common."""
        times_T = times_T.to(self.counts_LX)
        for counts_X, chosen_TK in zip(self.counts_LX, routing.chosen, strict=True):
            counts_X.index_add_(0, chosen_TK.flatten(), times_T.repeat_interleave(chosen_TK.shape[1]))

    def metrics(self) -> dict[str, float]:
        """`e_frac_with_tokens` is the share of experts that had any; `e_frac_oversubscribed` of those with more than
        an even share, and the violations are how far the most and the least loaded are off that, relative to it.

        Nothing for a model without experts.
        """
        if not len(self.counts_LX):
            return {}
        even_L1 = self.counts_LX.mean(-1, keepdim=True)
        off_LX = self.counts_LX / even_L1.clamp_min(1e-9) - 1
        most_L = off_LX.amax(-1)
        return {
            "e_frac_with_tokens:mean": float((self.counts_LX > 0).double().mean()),
            "e_frac_oversubscribed:mean": float((self.counts_LX > even_L1).double().mean()),
            "e_max_violation:mean": float(most_L.mean()),
            "e_max_violation:max": float(most_L.max()),
            "e_min_violation:mean": float(off_LX.amin(-1).mean()),
        }
