"""The way into a Ray cluster: one that is there already, or one on this machine that ends with the server.

Ray reads its environment as it is imported, so it is imported here first, and after that is set.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anubhav.errors import BadInput, Unavailable

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Node:
    """What there is of it for hosts and ranks."""

    processors: int
    cards: int = 0


def connect(address: str, data_dir: Path, hosts: int) -> list[Node]:
    """The nodes of the cluster; one of its own has room for so many hosts.

    Raises Unavailable when nobody answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local = address == LOCAL
    if local:
        _lock_up(data_dir / "ray-token")
    import ray
    from ray.exceptions import RayError

    # In a cluster of its own every host has a place, on a machine with fewer processors too. Without the word
    # "local" Ray would join whatever cluster was last started on this machine.
    where: dict[str, Any] = (
        {"address": LOCAL, "num_cpus": max(hosts, os.cpu_count() or 1), "include_dashboard": False}
        if local
        else {"address": address}
    )
    try:
        ray.init(namespace="anubhav", log_to_driver=False, configure_logging=False, **where)
    except (RayError, ConnectionError, OSError, RuntimeError, ValueError) as problem:
        raise Unavailable(
            f"No Ray cluster answers at {address[:200]} ({str(problem)[:300]})",
            hint="Start one with `ray start --head`, or use --cluster local.",
        ) from problem
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(int(found.get("CPU", 0)), int(found.get("GPU", 0))) for found in alive]


def disconnect() -> None:
    import ray

    ray.shutdown()


def share(models: int, samplers: int, nodes: Sequence[Node], ranks: int = 1, bundles: Sequence[int] = ()) -> int:
    """Processors for each host, so many that all find room: for every model, the ranks of its trainer and its samplers.

    `bundles` of ranks are each on a node of its own. Raises BadInput when they do not fit.
    """
    hosts, counts = models * (ranks + samplers), [node.processors for node in nodes]
    for each in range(max(counts, default=0), 0, -1):
        rooms = [count // each for count in counts]
        if sum(rooms) >= hosts and fit(bundles, rooms):
            return each
    most = sum(counts) // models - ranks
    raise BadInput(
        f"{hosts} hosts do not fit on the {sum(counts)} processors of the cluster's {len(nodes)} nodes",
        hint=f"Use --samplers {most}, or add nodes." if most > 0 else f"{(1 + ranks) * models} processors would do.",
    )


def fit(bundles: Sequence[int], rooms: Sequence[int]) -> bool:
    """Each bundle finds a node of its own that has room for it."""
    pairs = zip(sorted(bundles, reverse=True), sorted(rooms, reverse=True), strict=False)
    return len(bundles) <= len(rooms) and all(bundle <= room for bundle, room in pairs)


def _lock_up(token: Path) -> None:
    """Nobody else on this machine may send work into the cluster."""
    if not token.exists():
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(secrets.token_hex(32))
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))
