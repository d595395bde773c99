"""Dimuon over pieces: its direction is that of a whole matrix, so matrices cut along tp ranks are put together first.

The arithmetic is the torch backend's (`training/dimuon.py`). Axes: M matrices, R rank, N the long side.
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor

from anubhav.backends.torch.training.dimuon import orthogonal
from anubhav.backends.torch.training.optimizer import Moments
from anubhav.cluster.sharded.adapting import Held
from anubhav.cluster.sharded.collectives import Process
from anubhav.types.training import OptimParams


@torch.no_grad()
def turn(
    held: Held, gradient: list[Tensor], moments: Moments, params: OptimParams, tensor_ranks: Process | None
) -> None:
    """One step, in place."""
    moments.steps += 1
    torch._foreach_lerp_(moments.first, gradient, 1 - params.beta1)
    number = 0
    for pair in held.pairs.values():
        rank = pair.place.rank
        rate = params.learning_rate * math.sqrt(rank / 32) * math.sqrt(rank)
        for factor, piece, wide in ((pair.a, pair.pieces[0], True), (pair.b, pair.pieces[1], False)):
            cut = piece.group == "data"
            momentum = moments.first[number]
            number += 1
            matrices_MRN = _matrices(momentum, wide)
            if tensor_ranks and cut:
                matrices_MRN = _together(matrices_MRN, tensor_ranks)
            directions_MRN = orthogonal(matrices_MRN)
            if tensor_ranks and cut:
                size = dist.get_world_size(tensor_ranks)
                directions_MRN = directions_MRN.chunk(size, 2)[dist.get_rank(tensor_ranks)]
            _matrices(factor, wide).add_(directions_MRN, alpha=-rate)


def _matrices(factor: Tensor, wide: bool) -> Tensor:  # noqa: FBT001 - A or B
    """A view of A, or of B transposed: rank rows each. Both are cut along the long side."""
    stacked = factor if factor.dim() == 3 else factor[None]
    return stacked if wide else stacked.mT


def _together(part_MRN: Tensor, group: Process) -> Tensor:
    parts = [torch.empty(part_MRN.shape, device=part_MRN.device) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, part_MRN.contiguous(), group=group)
    return torch.cat(parts, 2)
