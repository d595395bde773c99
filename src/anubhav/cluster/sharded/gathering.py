"""Whole factors out of the pieces of all ranks, on the first rank, to the bit.

Each rank puts what it speaks for into zeros of the whole's shape, and the bits are added up as integers: nothing else
has to be known of who holds what. Only adapters ever come together like this, never the base.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from anubhav.cluster.sharded.adapting import Held
from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.files import Whole
from anubhav.cluster.sharded.places import Key, Kind, Place, places

_BUNDLE = 1 << 24
"""Cells."""


def gather(base: Base, held: Held, kind: Kind, values: Sequence[Tensor]) -> Whole:
    """`values` are shaped like the adapter's parameters. Whole on rank 0, empty elsewhere; all ranks must call it."""
    mine = {
        key: list(zip(values[2 * number : 2 * number + 2], pair.pieces, strict=True))
        for number, (key, pair) in enumerate(held.pairs.items())
    }
    found: dict[Key, list[Tensor]] = {}
    for some in _bundles(places(base.config, held.spec, kind)):
        sizes = [math.prod(shape) for _, _, shape in some]
        flat = torch.zeros(sum(sizes), dtype=torch.float32, device=base.device)
        wholes = [part.view(shape) for part, (_, _, shape) in zip(flat.split(sizes), some, strict=True)]
        for whole, (key, half, _) in zip(wholes, some, strict=True):
            if key in mine and mine[key][half][1].speaks:
                value, piece = mine[key][half]
                whole[piece.index] = value.detach()
        if base.groups.world:
            dist.reduce(flat.view(torch.int32), 0, group=base.groups.world)
        if dist.get_rank() == 0:
            for whole, (key, _, _) in zip(wholes, some, strict=True):
                found.setdefault(key, []).append(whole.cpu())
    return Whole(held.spec, {key: (halves[0], halves[1]) for key, halves in found.items()})


def _bundles(all_places: Iterable[Place]) -> Iterator[list[tuple[Key, int, tuple[int, ...]]]]:
    """(place, A or B, shape) of factors that come together at a time: many small ones, or one large one."""
    some: list[tuple[Key, int, tuple[int, ...]]] = []
    cells = 0
    for place in all_places:
        for half, shape in enumerate(place.shapes):
            if some and cells + math.prod(shape) > _BUNDLE:
                yield some
                some, cells = [], 0
            some.append((place.key, half, shape))
            cells += math.prod(shape)
    yield some


def pieces(base: Base, held: Held, whole: Whole) -> list[Tensor]:
    """This rank's pieces of something shaped like the whole adapter, in the order of its parameters."""
    return [
        whole.factors[key][half][piece.index].to(base.device).clone(memory_format=torch.contiguous_format)
        for key, pair in held.pairs.items()
        for half, piece in enumerate(pair.pieces)
    ]
