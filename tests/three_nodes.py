"""A Ray cluster of three nodes on this machine, as Ray's own tests have it."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anubhav.cluster.remote.connection import Node, connect, disconnect, share


@contextmanager
def three_nodes(samplers: int = 2) -> Iterator[int]:
    """Connected to it, with the processors for each host."""
    with ray_cluster() as (_, nodes):
        yield share(1, samplers, nodes)


@contextmanager
def ray_cluster() -> Iterator[tuple[Any, list[Node]]]:
    """Connected to it: Ray's own object, and what its nodes have."""
    with ray_nodes() as cluster, tempfile.TemporaryDirectory() as folder:
        try:
            yield cluster, connect(cluster.address, Path(folder), 0)
        finally:
            disconnect()


@contextmanager
def ray_nodes(head: int = 1, others: int = 2, **settings: Any) -> Iterator[Any]:
    """Ray's own object for it, with so many processors at its head and one at each of the others; nobody is connected.

    `settings` are Ray's.
    """
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own
        from ray.cluster_utils import Cluster

        first = {"num_cpus": head, "include_dashboard": False, "_system_config": settings}
        cluster = Cluster(initialize_head=True, head_node_args=first)
        try:
            for _ in range(others):
                cluster.add_node(num_cpus=1)
            yield cluster
        finally:
            cluster.shutdown()
