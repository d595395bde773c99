"""A frozen layer plus LoRA, forward and backward, with no gradient for the base.

For training all tokens belong to one adapter; for sampling the rows of a batch may belong to several.
Axes: T tokens, I inputs, O outputs, R fused rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anubhav.backends.torch.adapters import Adapter, Site
from anubhav.backends.torch.frozen import FrozenLinear


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of a batch that speak with one adapter; `rows` None means all of them."""

    adapter: Adapter
    rows: Tensor | None = None


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TI: Tensor, base: FrozenLinear, a_RI: Tensor, b_OR: Tensor, scale: float) -> Tensor:
        inner_TR = torch.mm(x_TI, a_RI.t()).mul_(scale)
        ctx.save_for_backward(x_TI, inner_TR, a_RI, b_OR)
        ctx.base, ctx.scale = base, scale
        return base(x_TI).addmm_(inner_TR, b_OR.t())

    @staticmethod
    def backward(ctx: Any, dy_TO: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor, None]:
        x_TI, inner_TR, a_RI, b_OR = ctx.saved_tensors
        dinner_TR = torch.mm(dy_TO, b_OR).mul_(ctx.scale)
        dx_TI = ctx.base.pull(dy_TO).addmm_(dinner_TR, a_RI) if ctx.needs_input_grad[0] else None
        return dx_TI, None, dinner_TR.t() @ x_TI, dy_TO.t() @ inner_TR, None


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TI: Tensor, base: FrozenLinear) -> Tensor:
        ctx.base = base
        return base(x_TI)

    @staticmethod
    def backward(ctx: Any, dy_TO: Tensor) -> tuple[Tensor, None]:
        return ctx.base.pull(dy_TO), None


def linear(x_TI: Tensor, base: FrozenLinear, site: Site, segments: Sequence[Segment]) -> Tensor:
    """The layer at `site` as each row's adapter has it. Differentiable for at most one segment, of all rows."""
    if torch.is_grad_enabled():
        pair = segments[0].adapter.pairs.get(site) if segments else None
        if pair is None:
            return _Frozen.apply(x_TI, base)  # pyright: ignore[reportReturnType]
        return _LoraLinear.apply(x_TI, base, pair.a_RI, pair.b_OR, segments[0].adapter.scale)  # pyright: ignore[reportReturnType]
    y_TO = base(x_TI)
    for segment in segments:
        pair = segment.adapter.pairs.get(site)
        if pair is None:
            continue
        rows_xI = x_TI if segment.rows is None else x_TI[segment.rows]
        inner_xR = torch.mm(rows_xI, pair.a_RI.t()).mul_(segment.adapter.scale)
        if segment.rows is None:
            y_TO.addmm_(inner_xR, pair.b_OR.t())
        else:
            y_TO.index_add_(0, segment.rows, inner_xR @ pair.b_OR.t())
    return y_TO
