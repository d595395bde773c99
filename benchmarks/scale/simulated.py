"""A simulated engine behind real posts: hosts of a cluster in this process, whose tokens cost time and nothing else.

What the cluster's side of the server does is real: posts, parcels, streams heard, who is chosen. Ray's wire is not
there: what would cross it is pickled and read again, as Ray would do.
"""

import asyncio
import pickle
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anubhav.backends.fake.reading import FakeReader
from anubhav.backends.fake.trainer import FakeTrainer
from anubhav.backends.torch.sampling.turns import Turns
from anubhav.cluster.remote import post as posts
from anubhav.cluster.remote.host import Answer, Host, whereabouts
from anubhav.cluster.remote.post import Post
from anubhav.cluster.remote.sampler import RemoteSampler
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest

_OWED, _LEVEL = 512, 32
"""As the torch engine has them."""


@dataclass
class Gate:
    """Nobody speaks before so many have come."""

    left: int
    open: asyncio.Event = field(default_factory=asyncio.Event)
    ended: Counter[str] = field(default_factory=Counter[str])
    """Samples that are done, by tenant."""
    half: dict[str, int] = field(default_factory=dict[str, int])
    """The same, when half of all were done."""
    total: int = 0

    def __post_init__(self) -> None:
        self.total = self.left

    def come(self) -> None:
        self.left -= 1
        if not self.left:
            self.open.set()

    def end(self, tenant: str) -> None:
        self.ended[tenant] += 1
        if not self.half and self.ended.total() >= self.total / 2:
            self.half = dict(self.ended)


class Paced:
    """A sampler with so many rows and so many seconds a token; tenants take turns, as the torch engine has it."""

    def __init__(self, rows: int, pace: float, gate: Gate) -> None:
        self._free, self._pace, self._gate = rows, pace, gate
        self._waiting: dict[str, deque[asyncio.Event]] = {}
        self._running: Counter[str] = Counter()
        self._turns = Turns(owed=_OWED, level=_LEVEL)

    async def attach(self, adapter: AdapterId, source: Path) -> None:
        """Every adapter sounds alike here."""

    async def detach(self, adapter: AdapterId) -> None:
        """As above."""

    async def sample(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        turn = asyncio.Event()
        self._waiting.setdefault(request.tenant, deque()).append(turn)
        self._gate.come()
        await self._gate.open.wait()
        self._admit()
        await turn.wait()
        try:
            for place in range(request.params.max_tokens):
                await asyncio.sleep(self._pace)
                last = place + 1 == request.params.max_tokens
                yield Sampled(request.first_index, (place + 2,), (-1.0,), (), "length" if last else None, None)
        finally:
            self._free += 1
            self._running[request.tenant] -= 1
            self._gate.end(request.tenant)
            self._admit()

    def _admit(self) -> None:
        self._turns.want({tenant for tenant, queue in self._waiting.items() if queue} | set(+self._running))
        while self._free and any(self._waiting.values()):
            tenant = self._turns.order(tenant for tenant, queue in self._waiting.items() if queue)[0]
            self._waiting[tenant].popleft().set()
            self._running[tenant] += 1
            self._turns.charge(tenant, 1)
            self._free -= 1


class PacedHost(Host):
    def __init__(self, sampler: Paced) -> None:
        super().__init__()
        self._sampler = sampler

    async def open(self, folder: str, dtype: str | None, version: str) -> Answer:
        self._engine = _Alone(self._sampler)  # pyright: ignore
        return Answer(whereabouts())


@dataclass(frozen=True)
class _Alone:
    sampler: Paced


class Handle:
    """A host of this process, called as Ray calls an actor."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, method: str) -> Any:
        return _Call(partial(self._call, method))

    async def _call(self, method: str, words: bytes) -> bytes:
        return pickle.dumps(await getattr(self._host, method)(*pickle.loads(words)))  # noqa: S301 - our own


@dataclass(frozen=True)
class _Call:
    work: Any

    def remote(self, *words: Any) -> "_Reference":
        return _Reference(asyncio.create_task(self.work(pickle.dumps(words))))


@dataclass(frozen=True)
class _Reference:
    task: "asyncio.Task[bytes]"

    def future(self) -> "Future[Any]":
        answer: Future[Any] = Future()

        def pass_on(done: "asyncio.Task[bytes]") -> None:
            if answer.cancelled() or done.cancelled():
                return
            if problem := done.exception():
                answer.set_exception(problem)
            else:
                answer.set_result(pickle.loads(done.result()))  # noqa: S301 - our own

        self.task.add_done_callback(pass_on)
        return answer


class SimulatedEngine:
    """An engine of so many replicas."""

    def __init__(self, vocabulary: int, replicas: int, rows: int, pace: float, gate: Gate) -> None:
        posts.kill = lambda _: None  # nobody dies here
        self._posts = [
            Post(f"sampler {number}", partial(_hire, rows, pace, gate), ("", None, ""))  # pyright: ignore
            for number in range(1, replicas + 1)
        ]
        self.sampler = RemoteSampler(self._posts)
        self.trainer, self.reader = FakeTrainer(vocabulary), FakeReader(vocabulary)

    async def open(self) -> None:
        await asyncio.gather(*(post.open() for post in self._posts))

    async def look(self) -> Sequence[Mapping[str, Any]]:
        return [{"post": post.name, "term": post.term, "alive": post.filled} for post in self._posts]

    def close(self) -> None:
        for post in self._posts:
            post.close()


def _hire(rows: int, pace: float, gate: Gate) -> Handle:
    return Handle(PacedHost(Paced(rows, pace, gate)))
