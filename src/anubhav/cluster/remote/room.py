"""Whether what has to leave a node finds room on the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anubhav.cluster.remote.nodes import Spot
from anubhav.errors import Unavailable

Room = tuple[int, int]
"""Processors and cards."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one post takes elsewhere."""

    post: str
    bundles: tuple[Room, ...]
    """Each on one node."""
    apart: bool = False
    """Each on another node."""
    freed: Mapping[str, Room] = field(default_factory=dict[str, Room])
    """What it gives back before, by node."""


def check_room(spot: Spot, needs: Sequence[Need], others: Sequence[Spot]) -> None:
    """Raises Unavailable when what has to leave the node does not fit on the others."""
    free = {other.id: (other.free_processors, other.free_cards) for other in others}
    homeless = [need for need in needs if not _placed(need, free)]
    if not homeless:
        return
    bundles = [bundle for need in homeless for bundle in need.bundles]
    processors, cards = (sum(amounts) for amounts in zip(*bundles, strict=True))
    there = ", ".join(f"{other} {other.free_processors}" for other in others) or "there is none"
    raise Unavailable(
        f"The node {spot} cannot be left: {', '.join(need.post for need in homeless)} would find no room. "
        f"Free processors of the other nodes: {there}",
        hint=f"Add a node with {processors} processors{f' and {cards} cards' if cards else ''}, then drain again.",
    )


def _placed(need: Need, free: dict[str, Room]) -> bool:
    """Whether it fits; what it takes is taken off what is free."""
    left = {node: _plus(room, need.freed.get(node, (0, 0))) for node, room in free.items()}
    taken: set[str] = set()
    for bundle in sorted(need.bundles, reverse=True):
        fits = [node for node, room in left.items() if _holds(room, bundle) and not (need.apart and node in taken)]
        if not fits:
            return False
        node = min(fits, key=left.__getitem__)
        left[node] = _plus(left[node], (-bundle[0], -bundle[1]))
        taken.add(node)
    free |= left
    return True


def _plus(one: Room, other: Room) -> Room:
    return one[0] + other[0], one[1] + other[1]


def _holds(room: Room, bundle: Room) -> bool:
    return room[0] >= bundle[0] and room[1] >= bundle[1]
