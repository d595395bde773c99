"""Where the ranks of a gang go in a cluster: a card each where there are cards, processors where there are none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anubhav.cluster.remote.connection import Node, fit
from anubhav.cluster.sharded.designs import Design, check_model
from anubhav.cluster.sharded.layout import check_room
from anubhav.errors import BadInput


@dataclass(frozen=True, slots=True)
class Places:
    """Of one gang, all of them or none."""

    bundles: tuple[int, ...]
    """Ranks that are on one node."""
    strategy: str
    """Ray's word for how the bundles go with one another."""
    cards: bool
    processors: int
    """For each rank."""

    def resources(self) -> list[dict[str, float]]:
        """What Ray is to set aside for each bundle."""
        return [
            {"CPU": float(count * self.processors)} | ({"GPU": float(count)} if self.cards else {})
            for count in self.bundles
        ]


def check_places(design: Design, folder: Path, nodes: Sequence[Node], models: int, samplers: int) -> None:
    """Raises BadInput when a gang for each model finds no room beside the samplers, with what would."""
    config = check_model(design, folder)
    cards = any(node.cards for node in nodes)
    rooms = [node.cards if cards else node.processors for node in nodes]
    free = max(0, sum(rooms) - (0 if cards else models * samplers)) // models
    what = "cards" if cards else "processors"
    check_room(design.layout, config, free, f"the cluster's {len(nodes)} nodes have {what} for {free}")
    bundles = design.bundles or ()
    if not fit(bundles, rooms):
        raise BadInput(
            f"The plan puts its ranks on {len(bundles)} nodes, {max(bundles)} on each, "
            f"and the cluster's nodes have {', '.join(map(str, rooms))} {what}",
            hint=f"--layout {design.layout} puts the same ranks wherever there is room.",
        )


def places_of(design: Design, nodes: Sequence[Node], processors: int) -> Places:
    cards = any(node.cards for node in nodes)
    if design.bundles is None:
        return Places((1,) * design.layout.ranks, "PACK", cards, processors)
    strategy = "STRICT_SPREAD" if len(design.bundles) > 1 else "STRICT_PACK"
    return Places(design.bundles, strategy, cards, processors)
