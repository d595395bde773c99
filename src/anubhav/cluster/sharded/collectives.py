"""Collectives that gradients pass through."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Process = dist.ProcessGroup


class _SumForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Process) -> Tensor:
        total = part.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, dtotal: Tensor) -> tuple[Tensor, None]:
        return dtotal, None


class _SumBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, same: Tensor, group: Process) -> Tensor:
        ctx.group = group
        return same.view_as(same)

    @staticmethod
    def backward(ctx: Any, dpart: Tensor) -> tuple[Tensor, None]:
        total = dpart.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor, cut: int, join: int, group: Process) -> Tensor:
        ctx.cut, ctx.join, ctx.group = cut, join, group
        return _exchange(mine, cut, join, group)

    @staticmethod
    def backward(ctx: Any, dtheirs: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchange(dtheirs, ctx.join, ctx.cut, ctx.group), None, None, None


def sum_forward(part: Tensor, group: Process) -> Tensor:
    """The sum over the group of what each rank has a part of; the gradient is the same on all of them."""
    return _SumForward.apply(part, group)  # pyright: ignore[reportReturnType]


def sum_backward(same: Tensor, group: Process) -> Tensor:
    """What all ranks of the group have alike; of its gradient each has a part."""
    return _SumBackward.apply(same, group)  # pyright: ignore[reportReturnType]


def exchange(mine: Tensor, cut: int, join: int, group: Process) -> Tensor:
    """Cut along one dimension, a piece for each rank, and join what comes back along another."""
    return _Exchange.apply(mine, cut, join, group)  # pyright: ignore[reportReturnType]


def _exchange(mine: Tensor, cut: int, join: int, group: Process) -> Tensor:
    pieces = torch.stack(mine.chunk(dist.get_world_size(group), cut))
    theirs = torch.empty_like(pieces)
    dist.all_to_all_single(theirs, pieces, group=group)
    return torch.cat(theirs.unbind(), join)
