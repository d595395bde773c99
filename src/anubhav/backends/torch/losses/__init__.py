"""The losses: one small file each, one line here. A loss maps log-probabilities to a value per position.

Positions of all data of a micro-batch stand in one axis P. Values are summed, never averaged (Tinker's rule), so that
chunking a batch changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from anubhav.backends.torch.losses import cross_entropy, importance_sampling, ppo

Inputs = Mapping[str, Tensor]
Config = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Loss:
    compute: Callable[[Tensor, Inputs, Config], Tensor]
    """(logprobs_P, inputs by name each P, config) → loss_P, differentiable in the first."""
    inputs: tuple[str, ...]
    """What a datum must bring beside target_tokens."""
    config: tuple[str, ...] = ()


LOSSES: Mapping[str, Loss] = {
    "cross_entropy": Loss(cross_entropy.compute, ("weights",)),
    "importance_sampling": Loss(importance_sampling.compute, ("logprobs", "advantages")),
    "ppo": Loss(ppo.compute, ("logprobs", "advantages"), ("clip_low_threshold", "clip_high_threshold")),
}
