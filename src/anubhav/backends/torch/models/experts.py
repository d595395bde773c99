"""A frozen layer of every expert plus its LoRA: rows sorted by expert, one product per expert that has any.

Axes: T tokens, P (token, expert) pairs sorted by expert, I inputs, O outputs, R rank, X experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anubhav.backends.torch.layers.adapters import Pair, Site
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment


@dataclass(frozen=True, slots=True)
class Runs:
    """The sorted pairs, and which of them belong to which expert."""

    experts_P: Tensor
    rows_P: Tensor
    """The tokens."""
    spans: tuple[tuple[int, slice], ...]
    """(expert, its pairs), for each expert that has any."""


def runs_of(experts_P: Tensor, rows_P: Tensor) -> Runs:
    """`experts_P` must be sorted."""
    found, counts = experts_P.unique_consecutive(return_counts=True)
    spans: list[tuple[int, slice]] = []
    start = 0
    for expert, count in zip(found.tolist(), counts.tolist(), strict=True):
        spans.append((expert, slice(start, start + count)))
        start += count
    return Runs(experts_P, rows_P, tuple(spans))


def grouped(
    x_PI: Tensor,
    runs: Runs,
    bases: Sequence[FrozenLinear],
    sites: Sequence[Site],
    segments: Sequence[Segment],
) -> Tensor:
    """(P, O): of each pair what its expert makes of it. `sites`: of the modules that are fused in that layer.

    Differentiable for at most one segment, of all rows.
    """
    if torch.is_grad_enabled():
        found = [segments[0].adapter.pairs.get(site) for site in sites] if segments else []
        factors = [factor for pair in found if pair for factor in (pair.a_RI, pair.b_OR)]
        scale = segments[0].adapter.scale if segments else 1.0
        return _Grouped.apply(x_PI, runs, bases, scale, *factors)  # pyright: ignore[reportReturnType]
    y_PO = _plain(x_PI, runs, bases)
    for segment in segments:
        pairs = [pair for pair in (segment.adapter.pairs.get(site) for site in sites) if pair]
        if pairs:
            _add(segment, pairs, x_PI, runs, y_PO)
    return y_PO


def _plain(x_PI: Tensor, runs: Runs, bases: Sequence[FrozenLinear]) -> Tensor:
    y_PO = torch.empty(len(x_PI), bases[0].outputs, dtype=x_PI.dtype, device=x_PI.device)
    for expert, span in runs.spans:
        y_PO[span] = bases[expert](x_PI[span])
    return y_PO


def _add(segment: Segment, pairs: list[Pair], x_PI: Tensor, runs: Runs, y_PO: Tensor) -> None:
    """Add what the segment's adapter makes of its rows, in place."""
    some: Tensor | None = None
    if segment.rows is not None:
        some = torch.isin(runs.rows_P, segment.rows).nonzero()[:, 0]
        if not len(some):
            return
        x_PI, runs = x_PI[some], runs_of(runs.experts_P[some], runs.rows_P[some])
    start = 0
    for pair in pairs:
        a_XRI, b_XOR = pair.a_RI.to(x_PI.dtype), pair.b_OR.to(x_PI.dtype)
        outs = slice(start, start + b_XOR.shape[1])
        for expert, span in runs.spans:
            inner_xR = torch.mm(x_PI[span], a_XRI[expert].t()).mul_(segment.adapter.scale)
            if some is None:
                y_PO[span, outs].addmm_(inner_xR, b_XOR[expert].t())
            else:
                y_PO[:, outs].index_add_(0, some[span], inner_xR @ b_XOR[expert].t())
        start = outs.stop


class _Grouped(torch.autograd.Function):
    """`factors`: A and B of all experts, for each fused module; none where nothing is trained."""

    @staticmethod
    def forward(
        ctx: Any, x_PI: Tensor, runs: Runs, bases: Sequence[FrozenLinear], scale: float, *factors: Tensor
    ) -> Tensor:
        y_PO = _plain(x_PI, runs, bases)
        inners: list[Tensor] = []
        start = 0
        factors = tuple(factor.to(x_PI.dtype) for factor in factors)
        for a_XRI, b_XOR in zip(factors[::2], factors[1::2], strict=True):
            outs = slice(start, start + b_XOR.shape[1])
            inner_PR = x_PI.new_empty(len(x_PI), a_XRI.shape[1])
            for expert, span in runs.spans:
                inner_PR[span] = torch.mm(x_PI[span], a_XRI[expert].t()).mul_(scale)
                y_PO[span, outs].addmm_(inner_PR[span], b_XOR[expert].t())
            inners.append(inner_PR)
            start = outs.stop
        ctx.save_for_backward(x_PI, *inners, *factors)
        ctx.runs, ctx.bases, ctx.scale, ctx.modules = runs, bases, scale, len(inners)
        return y_PO

    @staticmethod
    def backward(ctx: Any, dy_PO: Tensor) -> tuple[Tensor | None, ...]:
        x_PI, *rest = ctx.saved_tensors
        inners, factors = rest[: ctx.modules], rest[ctx.modules :]
        dx_PI: Tensor | None = None
        if ctx.needs_input_grad[0]:
            dx_PI = torch.empty_like(x_PI)
            for expert, span in ctx.runs.spans:
                dx_PI[span] = ctx.bases[expert].pull(dy_PO[span])
        slopes: list[Tensor] = []
        start = 0
        for inner_PR, a_XRI, b_XOR in zip(inners, factors[::2], factors[1::2], strict=True):
            outs = slice(start, start + b_XOR.shape[1])
            da_XRI = torch.zeros(a_XRI.shape, device=a_XRI.device)
            db_XOR = torch.zeros(b_XOR.shape, device=b_XOR.device)
            for expert, span in ctx.runs.spans:
                dinner_xR = torch.mm(dy_PO[span, outs], b_XOR[expert]).mul_(ctx.scale)
                da_XRI[expert] = torch.mm(dinner_xR.t(), x_PI[span])
                db_XOR[expert] = torch.mm(inner_PR[span].t(), dy_PO[span, outs]).t()
                if dx_PI is not None:
                    dx_PI[span].addmm_(dinner_xR, a_XRI[expert])
            slopes += [da_XRI, db_XOR]
            start = outs.stop
        return dx_PI, None, None, None, *slopes
