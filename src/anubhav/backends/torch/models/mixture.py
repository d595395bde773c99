"""A layer whose tokens go to a few of many experts each: Qwen3's softmax router and DeepSeek-V3's sigmoid one.

Axes: T tokens, E hidden, X experts, K experts of a token, P (token, expert) pairs sorted by expert, F inner width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.layers.config import MixtureShape
from anubhav.backends.torch.layers.elementwise import swiglu
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models.dense import Dense, read_dense
from anubhav.backends.torch.models.experts import grouped, runs_of
from anubhav.backends.torch.models.routing import Routing
from anubhav.backends.torch.models.weights import Weights


@dataclass(frozen=True, slots=True)
class Mixture:
    layer: int
    shape: MixtureShape
    router_XE: Tensor
    """In float32, whatever the experts compute in: near ties should fall alike everywhere."""
    correction_X: Tensor | None
    gate_up: tuple[FrozenLinear, ...]
    down: tuple[FrozenLinear, ...]
    shared: Dense | None

    def __call__(self, h_TE: Tensor, segments: Sequence[Segment], routing: Routing | None) -> Tensor:
        logits_TX = functional.linear(h_TE.float(), self.router_XE)
        scores_TX = logits_TX.sigmoid() if self.shape.sigmoid else logits_TX.softmax(-1)
        chosen_TK = self._choose(scores_TX.detach())
        if routing:
            chosen_TK = routing.settle(chosen_TK)
        y_TE = self._compute(h_TE, chosen_TK, self._weigh(scores_TX, chosen_TK), segments)
        return y_TE if self.shared is None else y_TE + self.shared(h_TE, segments, routing)

    def _choose(self, scores_TX: Tensor) -> Tensor:
        shape = self.shape
        if self.correction_X is not None:
            scores_TX = scores_TX + self.correction_X
        if shape.groups > 1:
            grouped_TGx = scores_TX.unflatten(-1, (shape.groups, -1))
            best_TG = grouped_TGx.topk(2, -1)[0].sum(-1)
            kept = best_TG.topk(shape.groups_kept, -1)[1]
            out_TG = torch.ones_like(best_TG, dtype=torch.bool).scatter_(-1, kept, value=False)
            scores_TX = grouped_TGx.masked_fill(out_TG[..., None], float("-inf")).flatten(-2)
        return scores_TX.topk(shape.each, -1)[1]

    def _weigh(self, scores_TX: Tensor, chosen_TK: Tensor) -> Tensor:
        weights_TK = scores_TX.gather(-1, chosen_TK)
        if self.shape.normed:
            weights_TK = weights_TK / (weights_TK.sum(-1, keepdim=True) + 1e-20)
        return weights_TK * self.shape.scale

    def _compute(self, h_TE: Tensor, chosen_TK: Tensor, weights_TK: Tensor, segments: Sequence[Segment]) -> Tensor:
        """The weighted sum of what each token's experts make of it, in float32."""
        order_P = chosen_TK.flatten().argsort(stable=True)
        rows_P = order_P // chosen_TK.shape[1]
        runs = runs_of(chosen_TK.flatten()[order_P], rows_P)
        sites = [(self.layer, group) for group in ("experts_gate", "experts_up")]
        f_PF = swiglu(grouped(h_TE.index_select(0, rows_P), runs, self.gate_up, sites, segments))
        f_PF = f_PF * weights_TK.flatten()[order_P, None].to(f_PF.dtype)
        y_PE = grouped(f_PF, runs, self.down, [(self.layer, "experts_down")], segments)
        return torch.zeros(h_TE.shape, device=h_TE.device).index_add(0, rows_P, y_PE.float())


def read_mixture(shape: MixtureShape, read: Weights, layer: int) -> Mixture:
    prefix = f"model.layers.{layer}.mlp."
    experts = [f"{prefix}experts.{number}." for number in range(shape.experts)]
    return Mixture(
        layer,
        shape,
        router_XE=read.exact(prefix + "gate.weight").float(),
        correction_X=read.exact(prefix + "gate.e_score_correction_bias").float() if shape.sigmoid else None,
        gate_up=tuple(FrozenLinear(read.together(e + "gate_proj.weight", e + "up_proj.weight")) for e in experts),
        down=tuple(FrozenLinear(read(e + "down_proj.weight")) for e in experts),
        shared=read_dense(read, layer, "mlp.shared_experts", ("shared_gate_up", "shared_down"))
        if shape.shared
        else None,
    )
