"""One base model in a cluster: a trainer and some samplers on hosts of their own, behind the ports of one engine."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.actor import ActorHandle

import anubhav
from anubhav.cluster.remote.host import Host
from anubhav.cluster.remote.nodes import SHORT, Nodes
from anubhav.cluster.remote.placing import Places
from anubhav.cluster.remote.post import Post
from anubhav.cluster.remote.reader import RemoteReader
from anubhav.cluster.remote.room import Need
from anubhav.cluster.remote.sampler import RemoteSampler
from anubhav.cluster.remote.trainer import RemoteTrainer
from anubhav.ports import Trainer

if TYPE_CHECKING:
    from anubhav.cluster.sharded.trainer import ShardedTrainer

_PATIENCE = 60.0
"""Seconds in which streams may end at a host that is to go."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each base model gets."""

    samplers: int
    processors: int
    """For each host."""
    accelerators: int = 0
    ranks: Places | None = None
    """Of a sharded trainer."""


class RemoteEngine:
    trainer: Trainer

    def __init__(
        self,
        folder: Path,
        dtype: str | None,
        wanted: Wanted,
        gang: "Callable[[], ShardedTrainer] | None" = None,
        nodes: Nodes | None = None,
    ) -> None:
        """`gang` puts up a sharded trainer, in place of the host that would train alone. `nodes`: where all go."""
        papers = (str(folder), dtype, anubhav.__version__)
        self.name, self.wanted, self.nodes = folder.name, wanted, nodes or Nodes()

        def post(role: str) -> Post:
            return Post(f"{folder.name} {role}", lambda: _hire(wanted, self.nodes), papers, self.nodes.allowed)

        samplers = [post(f"sampler {number}") for number in range(1, wanted.samplers + 1)]
        self._posts = samplers
        self._gang = gang
        self._sharded: ShardedTrainer | None = None
        if gang is None:
            trainer = post("trainer")
            self._posts = [trainer, *samplers]
            self.trainer = RemoteTrainer(trainer)
        self.sampler = RemoteSampler(samplers)
        self.reader = RemoteReader(samplers)

    async def open(self) -> None:
        """All hosts at once, behind the gang. Raises why one could not be put up."""
        if self._gang:
            self.trainer = self._sharded = await asyncio.to_thread(self._gang)
        await asyncio.gather(*(post.open() for post in self._posts))

    async def look(self) -> Sequence[dict[str, Any]]:
        """Each post, and who stands there."""
        found = await asyncio.gather(*(post.look() for post in self._posts))
        hosts: list[dict[str, Any]] = [
            {"post": post.name, "term": post.term, "alive": seen is not None, **(seen or {})}
            for post, seen in zip(self._posts, found, strict=True)
        ]
        return [{**row, "node_id": row.get("node_id", "")[:SHORT]} for row in [*(await self._ranks()), *hosts]]

    async def standing(self) -> list[str]:
        """The node of each post where somebody stands."""
        ranks = [row["node_id"] for row in await self._ranks() if row["alive"]]
        return [*ranks, *(post.node for post in self._posts if post.filled)]

    async def needs(self, node: str) -> list[Need]:
        """What everything on this node would take elsewhere; a gang before hosts, as it is harder to place."""
        hosts = [post for post in self._posts if post.filled and post.node == node]
        ranks, places = [row["node_id"] for row in await self._ranks() if row["alive"]], self.wanted.ranks
        room = self.wanted.processors, self.wanted.accelerators
        needs = [Need(post.name, (room,)) for post in hosts]
        if places and node in ranks:
            each = places.processors, int(places.cards)
            freed = {there: (each[0] * count, each[1] * count) for there, count in Counter(ranks).items()}
            bundles = tuple((each[0] * count, each[1] * count) for count in places.bundles)
            needs.insert(0, Need(f"{self.name} trainer", bundles, places.strategy == "STRICT_SPREAD", freed))
        return needs

    async def leave(self, node: str) -> None:
        """Move everything away from this node. Raises why something has to stay, once all else is gone."""
        if self._sharded and any(row.get("node_id") == node for row in await self._ranks()):
            await self._sharded.move()
        hosts = [post for post in self._posts if post.filled and post.node == node]
        failures = await asyncio.gather(*(post.move(_PATIENCE) for post in hosts), return_exceptions=True)
        if failure := next((one for one in failures if one), None):
            raise failure

    def close(self) -> None:
        if self._sharded:
            self._sharded.close()
        for post in self._posts:
            post.close()

    async def _ranks(self) -> list[dict[str, Any]]:
        return await self._sharded.look() if self._sharded else []


def _hire(wanted: Wanted, nodes: Nodes) -> ActorHandle[Any]:
    # A host that died is put up anew by its post, empty; what Ray repeated by itself could be a second step.
    options: dict[str, Any] = {
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": 1000,
        "scheduling_strategy": "SPREAD",
        "label_selector": nodes.selector() or None,
    }
    hired = ray.remote(Host).options(num_cpus=wanted.processors, num_gpus=wanted.accelerators, **options).remote()
    return cast(ActorHandle[Any], hired)
