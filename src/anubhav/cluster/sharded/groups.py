"""The process groups of a rank, by what its members have in common. One that would be of this rank alone is None."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.distributed as dist

from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.collectives import Process
from anubhav.cluster.sharded.layout import Seat


@dataclass(frozen=True, slots=True)
class Groups:
    world: Process | None
    stage: Process | None
    """The same layers."""
    data: Process | None
    """The same layers and tp rank: those of the FSDP axis."""
    tp: Process | None
    """The same layers and the same tokens."""
    copies: Process | None
    """The same experts."""
    sequence: Process | None
    """Parts of the same sequences."""
    pipe: Process | None
    """The same place in each stage."""


def make_groups(layout: Layout) -> Groups:
    """Every rank must call this at once, as making a group takes all of them."""
    seats = [Seat.of(rank, layout) for rank in range(layout.ranks)]

    def mine(common: Callable[[Seat], object]) -> Process | None:
        found: Process | None = None
        together: dict[object, list[int]] = {}
        for rank, seat in enumerate(seats):
            together.setdefault(common(seat), []).append(rank)
        for ranks in together.values():
            group = dist.new_group(ranks) if len(ranks) > 1 else None
            if isinstance(group, dist.ProcessGroup) and dist.get_rank() in ranks:
                found = group
        return found

    return Groups(
        world=mine(lambda _: 0),
        stage=mine(lambda seat: seat.pp),
        data=mine(lambda seat: (seat.pp, seat.tp)),
        tp=mine(lambda seat: (seat.pp, seat.fsdp)),
        copies=mine(lambda seat: (seat.pp, seat.ep)),
        sequence=mine(lambda seat: (seat.pp, seat.tp, seat.fsdp // layout.sp)),
        pipe=mine(lambda seat: (seat.tp, seat.fsdp)),
    )
