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
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of Ray's own
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        try:
            yield cluster, connect(cluster.address, Path(folder), 0)
        finally:
            disconnect()
            cluster.shutdown()
