"""One base model in a cluster: a trainer and some samplers on hosts of their own, behind the ports of one engine."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.actor import ActorHandle

import anubhav
from anubhav.cluster.remote.host import Host
from anubhav.cluster.remote.post import Post
from anubhav.cluster.remote.reader import RemoteReader
from anubhav.cluster.remote.sampler import RemoteSampler
from anubhav.cluster.remote.trainer import RemoteTrainer
from anubhav.ports import Trainer

if TYPE_CHECKING:
    from anubhav.cluster.sharded.trainer import ShardedTrainer


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each base model gets."""

    samplers: int
    processors: int
    """For each host."""
    accelerators: int = 0


class RemoteEngine:
    trainer: Trainer

    def __init__(
        self, folder: Path, dtype: str | None, wanted: Wanted, gang: "Callable[[], ShardedTrainer] | None" = None
    ) -> None:
        """`gang` puts up a sharded trainer, in place of the host that would train alone."""
        papers = (str(folder), dtype, anubhav.__version__)

        def post(role: str) -> Post:
            return Post(f"{folder.name} {role}", lambda: _hire(wanted), papers)

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
        hosts = [
            {"post": post.name, "term": post.term, "alive": seen is not None, **(seen or {})}
            for post, seen in zip(self._posts, found, strict=True)
        ]
        return [*(await self._sharded.look() if self._sharded else []), *hosts]

    def close(self) -> None:
        if self._sharded:
            self._sharded.close()
        for post in self._posts:
            post.close()


def _hire(wanted: Wanted) -> ActorHandle[Any]:
    # A host that died is put up anew by its post, empty; what Ray repeated by itself could be a second step.
    options: dict[str, Any] = {
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": 1000,
        "scheduling_strategy": "SPREAD",
    }
    hired = ray.remote(Host).options(num_cpus=wanted.processors, num_gpus=wanted.accelerators, **options).remote()
    return cast(ActorHandle[Any], hired)
