"""The nodes of a Ray cluster as they are now, and those among them that are to be left.

What is to be left is remembered here and not in Ray, whose own drain cannot be taken back and ends who is still there.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import state

from anubhav.errors import BadInput, NotFound

_LABEL = "ray.io/node-id"
"""Ray gives it to every node."""
SHORT = 12
"""Letters of a node's id that tell it from others."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One node: what it has, and what of it nobody has taken."""

    id: str
    name: str
    address: str
    processors: int
    cards: int
    free_processors: int
    free_cards: int

    def __str__(self) -> str:
        return f"{self.id[:SHORT]} ({self.name})"


class Nodes:
    def __init__(self) -> None:
        self._left: set[str] = set()
        self.changing = asyncio.Lock()

    def leave(self, node: str) -> None:
        """Nothing new is put there."""
        self._left.add(node)

    def stay(self, node: str) -> None:
        self._left.discard(node)

    def allowed(self, node: str) -> bool:
        return node not in self._left

    def selector(self) -> dict[str, str]:
        """For Ray: any node but those that are to be left."""
        return {_LABEL: f"!in({','.join(sorted(self._left))})"} if self._left else {}

    def now(self) -> list[Spot]:
        """Those that are alive. Takes a question to the cluster."""
        free = state.available_resources_per_node()
        return [_spot(found, free.get(found["NodeID"], {})) for found in ray.nodes() if found["Alive"]]

    def find(self, name: str) -> Spot:
        """By the beginning of its id, its name or its address. Raises NotFound, and BadInput when several are meant."""
        spots = self.now()
        found = [spot for spot in spots if name in (spot.name, spot.address) or spot.id.startswith(name)]
        if name and len(found) == 1:
            return found[0]
        known = ", ".join(map(str, found or spots))
        if name and found:
            raise BadInput(f"{name[:100]!r} names {len(found)} nodes", hint=f"Name one by its id: {known}.")
        raise NotFound(f"The cluster has no node {name[:100]!r}", hint=f"Name one of: {known}.")


def _spot(found: Mapping[str, Any], free: Mapping[str, float]) -> Spot:
    has: Mapping[str, float] = found["Resources"]
    counts = [int(part.get(what, 0)) for part in (has, free) for what in ("CPU", "GPU")]
    return Spot(found["NodeID"], found["NodeManagerHostname"], found["NodeManagerAddress"], *counts)
