"""The way into a Ray cluster: one that is there already, or one on this machine that ends with the server.

Ray reads its environment as it is imported, so it is imported here first, and after that is set.
"""

import os
import secrets
from pathlib import Path
from typing import Any

from anubhav.errors import BadInput, Unavailable

LOCAL = "local"


def connect(address: str, data_dir: Path, models: int, samplers: int) -> int:
    """Processors for each host, a trainer and so many samplers for every model.

    Raises Unavailable when nobody answers at the address, and BadInput when the hosts do not fit there.
    """
    hosts = models * (1 + samplers)
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
    return share(models, samplers, [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]])


def disconnect() -> None:
    import ray

    ray.shutdown()


def share(models: int, samplers: int, nodes: list[int]) -> int:
    """So many processors that every host finds room; `nodes` says how many each node has."""
    hosts, together = models * (1 + samplers), sum(nodes)
    for each in range(max(nodes, default=0), 0, -1):
        if sum(count // each for count in nodes) >= hosts:
            return each
    most = together // models - 1
    raise BadInput(
        f"{hosts} hosts do not fit on the {together} processors of the cluster's {len(nodes)} nodes",
        hint=f"Use --samplers {most}, or add nodes." if most > 0 else f"{2 * models} processors would do.",
    )


def _lock_up(token: Path) -> None:
    """Nobody else on this machine may send work into the cluster."""
    if not token.exists():
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(secrets.token_hex(32))
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))
