"""Which part of each factor a rank holds, whose gradients for it add up, and which of them speaks for it.

Everything follows from the rank's seat and from how the base's own layer is split; no process group is needed to say
it. The forward and backward passes of `adapting` are written so that the sums below give the whole gradient.

| layer                     | A                          | B                          |
|---|---|---|
| not split                 | whole; same on each tp rank | whole; same on each tp rank |
| colwise (outputs split)   | whole; same on each tp rank | cut along O                |
| rowwise (inputs split)    | cut along I                | whole; same on each tp rank |
| experts on ep ranks       | cut along X, or shared     | cut along X, or shared     |
| experts on tp ranks       | down: cut along I          | gate, up: cut along O      |
"""

from dataclasses import dataclass
from typing import Literal

from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.layout import Seat
from anubhav.cluster.sharded.places import Place

Group = Literal["stage", "data", "copies"]
"""All ranks of a pipeline stage; those of the FSDP axis; those with the same experts."""
Style = Literal["colwise", "rowwise"] | None


@dataclass(frozen=True, slots=True)
class Piece:
    index: tuple[slice, ...]
    """Of the whole factor."""
    group: Group
    """The ranks that hold this very piece: their gradients add up."""
    share: float
    """What this rank's gradient counts: less than 1 where several ranks compute the same."""
    speaks: bool
    """This rank is the first of the group."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a rank cuts adapters."""

    layout: Layout
    seat: Seat

    def pieces(self, place: Place, style: Style) -> tuple[Piece, Piece]:
        """Those of A and B."""
        if place.copies is None:
            return self._dense(place, style)
        return self._sent(place) if self.layout.ep > 1 else self._sliced(place)

    def _dense(self, place: Place, style: Style) -> tuple[Piece, Piece]:
        same = 1 / self.layout.tp
        if style == "colwise":
            return self._whole(2, same), self._along_tp(2, 0, place.outputs)
        if style == "rowwise":
            return self._along_tp(2, 1, place.inputs), self._whole(2, same)
        return self._whole(2, same), self._whole(2, same)

    def _sent(self, place: Place) -> tuple[Piece, Piece]:
        """Tokens are sent to their experts, each to one rank, so nothing is computed twice."""
        assert place.copies
        a, b = (self._whole(3, 1.0) if count == 1 else self._along_ep(count) for count in place.copies)
        return a, b

    def _sliced(self, place: Place) -> tuple[Piece, Piece]:
        """Each tp rank has a slice of every expert's inner width, and computes with it a part of every sum."""
        if place.key[1] == "experts_down":
            return self._along_tp(3, 2, place.inputs), self._whole(3, 1.0)
        return self._whole(3, 1.0), self._along_tp(3, 1, place.outputs)

    def _whole(self, dims: int, share: float) -> Piece:
        first = self.seat.tp == 0 and self.seat.fsdp == 0
        return Piece((slice(None),) * dims, "stage", share, first)

    def _along_tp(self, dims: int, dim: int, size: int) -> Piece:
        return Piece(_cut(dims, dim, size // self.layout.tp, self.seat.tp), "data", 1.0, self.seat.fsdp == 0)

    def _along_ep(self, experts: int) -> Piece:
        return Piece(_cut(3, 0, experts // self.layout.ep, self.seat.ep), "copies", 1.0, self.seat.copy == 0)


def _cut(dims: int, dim: int, width: int, number: int) -> tuple[slice, ...]:
    return tuple(slice(number * width, (number + 1) * width) if one == dim else slice(None) for one in range(dims))
