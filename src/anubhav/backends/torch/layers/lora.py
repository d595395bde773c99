"""A frozen layer plus LoRA, forward and backward, with no gradient for the base.

For training all tokens belong to one adapter; for sampling the rows of a batch may belong to several.
Axes: T tokens, I inputs, O outputs, R fused rank.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anubhav.backends.torch.layers.adapters import Adapter, Pair, Site
from anubhav.backends.torch.layers.frozen import FrozenLinear


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of a batch that speak with one adapter; `rows` None means all of them."""

    adapter: Adapter
    rows: Tensor | None = None


class Segments(list[Segment]):
    """Segments that know a way of their own to be added."""

    def add(self, site: Site, x_TI: Tensor, y_TO: Tensor) -> None:
        add(self, site, x_TI, y_TO)


def blocks(pair: Pair) -> Iterator[tuple[slice, slice]]:
    """(outputs, ranks) of each module of a fused pair: the parts of B that are not 0."""
    rank, start = len(pair.a_RI) // len(pair.widths), 0
    for number, width in enumerate(pair.widths):
        yield slice(start, start + width), slice(number * rank, (number + 1) * rank)
        start += width


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_TI: Tensor, a_RI: Tensor, b_OR: Tensor, base: FrozenLinear, pair: Pair, scale: float
    ) -> Tensor:
        a_RI, b_OR = a_RI.to(x_TI.dtype), b_OR.to(x_TI.dtype)
        inner_TR = torch.mm(x_TI, a_RI.t()).mul_(scale)
        ctx.save_for_backward(x_TI, inner_TR, a_RI, b_OR)
        ctx.base, ctx.blocks, ctx.scale = base, tuple(blocks(pair)), scale
        y_TO = base(x_TI)
        for outs, ranks in ctx.blocks:
            y_TO[:, outs].addmm_(inner_TR[:, ranks], b_OR[outs, ranks].t())
        return y_TO

    @staticmethod
    def backward(ctx: Any, dy_TO: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None, None]:
        x_TI, inner_TR, a_RI, b_OR = ctx.saved_tensors
        dinner_TR = torch.empty_like(inner_TR)
        db_OR = torch.zeros(b_OR.shape, device=b_OR.device)
        for outs, ranks in ctx.blocks:
            dinner_TR[:, ranks] = torch.mm(dy_TO[:, outs], b_OR[outs, ranks])
            # This way round: the product with the long side last is the faster one.
            db_OR[outs, ranks] = torch.mm(inner_TR[:, ranks].t(), dy_TO[:, outs]).t()
        dinner_TR.mul_(ctx.scale)
        dx_TI = ctx.base.pull(dy_TO).addmm_(dinner_TR, a_RI) if ctx.needs_input_grad[0] else None
        return dx_TI, torch.mm(dinner_TR.t(), x_TI).float(), db_OR, None, None, None


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
        return _LoraLinear.apply(x_TI, pair.a_RI, pair.b_OR, base, pair, segments[0].adapter.scale)  # pyright: ignore[reportReturnType]
    y_TO = base(x_TI)
    if isinstance(segments, Segments):
        segments.add(site, x_TI, y_TO)
    else:
        add(segments, site, x_TI, y_TO)
    return y_TO


def add(segments: Sequence[Segment], site: Site, x_TI: Tensor, y_TO: Tensor) -> None:
    """Add to y, in place, what each row's adapter makes of x."""
    for segment in segments:
        pair = segment.adapter.pairs.get(site)
        if pair is None:
            continue
        rows_xI = x_TI if segment.rows is None else x_TI[segment.rows]
        inner_xR = torch.mm(rows_xI, pair.a_RI.t().to(x_TI.dtype)).mul_(segment.adapter.scale)
        b_RO = pair.b_OR.t().to(x_TI.dtype)
        if segment.rows is None:
            y_TO.addmm_(inner_xR, b_RO)
        else:
            y_TO.index_add_(0, segment.rows, inner_xR @ b_RO)
