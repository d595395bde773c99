"""The host: an engine inside a Ray actor. It answers by value what the ports answer through files and generators.

Its listener asks for what all streams have said since it asked last, so that one that has died is noticed: what nobody
asks for ends by itself.
Failures come back as values, because an exception that crosses Ray is wrapped into another one.
"""

import asyncio
import logging
import os
import socket
import tempfile
import time
from collections.abc import Awaitable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

import anubhav
from anubhav.backends.opening import Engine, open_engine
from anubhav.cluster.remote.parcels import Parcel, pack, unpack, unpacked
from anubhav.errors import AnubhavError, Broken, MissingPart
from anubhav.types.distilling import Distillation, Distilled
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest
from anubhav.types.training import LoraSpec, OptimParams, Pass

_LONGEST_WAIT = 10.0
"""Seconds an empty-handed listener waits before it is told that there is nothing yet."""
_FORGOTTEN = 60.0
"""Seconds without a listener after which streams end."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    value: Any = None
    failure: AnubhavError | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """Some events of a stream, and whether they were the last."""

    events: Sequence[Sampled]
    ended: bool = False
    failure: AnubhavError | None = None


@dataclass(frozen=True, slots=True)
class News:
    number: int
    told: Sequence[tuple[str, Heard]] = ()
    """By stream, in order."""


@dataclass(slots=True)
class _Stream:
    events: list[Sampled] = field(default_factory=list[Sampled])
    ended: bool = False
    failure: AnubhavError | None = None
    task: "asyncio.Task[None] | None" = None


class Host:
    """Plain Python; `post` makes an actor of it. Its methods are those of the ports, with parcels for folders."""

    _engine: Engine

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._news: dict[str, None] = {}
        """The streams that have said something, in that order."""
        self._more = asyncio.Event()
        self._asked, self._asked_at = 0, 0.0
        self._last = News(0)

    async def open(self, folder: str, dtype: str | None, version: str) -> Answer:
        """Load the model; everything else comes after it. Answers as `ping` does."""

        async def work() -> dict[str, Any]:
            self._engine = await asyncio.to_thread(_open, Path(folder), dtype, version)
            return await self.ping()

        return await _answer(work())

    async def ping(self) -> dict[str, Any]:
        """That it lives, and where."""
        return {**whereabouts(), "streams": len(self._streams)}

    async def create(self, adapter: AdapterId, spec: LoraSpec) -> Answer:
        return await _answer(self._engine.trainer.create(adapter, spec))

    async def run(self, passes: Sequence[Pass], tenant: str) -> Answer:
        return await _answer(self._engine.trainer.run(passes, tenant=tenant))

    async def step(self, adapter: AdapterId, params: OptimParams) -> Answer:
        return await _answer(self._engine.trainer.step(adapter, params))

    async def save(self, adapter: AdapterId, optimizer: bool) -> Answer:  # noqa: FBT001 - Ray calls by position
        async def work() -> Parcel:
            with tempfile.TemporaryDirectory(prefix="anubhav-adapter-") as folder:
                await self._engine.trainer.save(adapter, Path(folder), optimizer=optimizer)
                return pack(Path(folder))

        return await _answer(work())

    async def load(self, adapter: AdapterId, parcel: Parcel, optimizer: bool) -> Answer:  # noqa: FBT001
        async def work() -> None:
            with unpacked(parcel) as folder:
                await self._engine.trainer.load(adapter, folder, optimizer=optimizer)

        return await _answer(work())

    async def blend(self, adapter: AdapterId, parts: Sequence[tuple[Parcel, float]]) -> Answer:
        async def work() -> None:
            with tempfile.TemporaryDirectory(prefix="anubhav-adapters-") as scratch:
                folders: list[tuple[Path, float]] = []
                for number, (parcel, share) in enumerate(parts):
                    folders.append((Path(scratch, str(number)), share))
                    folders[-1][0].mkdir()
                    unpack(parcel, folders[-1][0])
                await self._engine.trainer.blend(adapter, folders)

        return await _answer(work())

    async def distil(self, adapter: AdapterId, work: Distillation, reference: Parcel | None, tenant: str) -> Answer:
        async def learn() -> Distilled:
            if reference is None:
                return await self._engine.trainer.distil(adapter, work, None, tenant=tenant)
            with unpacked(reference) as folder:
                return await self._engine.trainer.distil(adapter, work, folder, tenant=tenant)

        return await _answer(learn())

    async def drop(self, adapter: AdapterId) -> Answer:
        return await _answer(self._engine.trainer.drop(adapter))

    async def attach(self, adapter: AdapterId, parcel: Parcel) -> Answer:
        async def work() -> None:
            with unpacked(parcel) as folder:
                await self._engine.sampler.attach(adapter, folder)

        return await _answer(work())

    async def detach(self, adapter: AdapterId) -> Answer:
        return await _answer(self._engine.sampler.detach(adapter))

    async def begin(self, name: str, request: SampleRequest) -> None:
        """Start a stream of this name; beginning it twice is one stream."""
        self._end_forgotten()
        if name not in self._streams:
            stream = self._streams[name] = _Stream()
            stream.task = asyncio.create_task(self._pump(name, stream, request))

    async def listen(self, heard: int) -> News:
        """What came of all streams since the news of that number; waits for something, but not for ever.

        News that nobody heard, as their call was given up, are told again. Who asks later is the one who hears.
        """
        self._asked += 1
        turn, self._asked_at = self._asked, time.monotonic()
        if heard == self._last.number:
            self._last = News(heard)
        if not self._news and not self._last.told:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_WAIT):
                    await self._more.wait()
        if turn != self._asked:
            return News(heard)
        self._more.clear()
        news, self._news = self._news, {}
        fresh = [(name, self._heard(name)) for name in news if name in self._streams]
        self._last = News(self._last.number + 1, (*self._last.told, *fresh))
        return self._last

    def _heard(self, name: str) -> Heard:
        stream = self._streams[name]
        events, stream.events = stream.events, []
        if stream.ended:
            del self._streams[name]
        return Heard(tuple(events), stream.ended, stream.failure)

    async def end(self, name: str) -> None:
        """Free what it holds. An unknown stream is no error."""
        stream = self._streams.pop(name, None)
        if stream and stream.task:
            stream.task.cancel()
            await asyncio.gather(stream.task, return_exceptions=True)

    async def read(self, items: Sequence[tuple[Sequence[int], Sequence[int]]], tenant: str) -> Answer:
        return await _answer(self._engine.reader.read(items, tenant=tenant))

    async def surprise(self, items: Sequence[tuple[Sequence[int], Sequence[int]]], tenant: str) -> Answer:
        return await _answer(self._engine.reader.surprise(items, tenant=tenant))

    async def attend(self, prompt: Sequence[int], spans: Sequence[tuple[int, int]], last: int, tenant: str) -> Answer:
        return await _answer(self._engine.reader.attend(prompt, spans, last, tenant=tenant))

    async def _pump(self, name: str, stream: _Stream, request: SampleRequest) -> None:
        try:
            async with aclosing(self._engine.sampler.sample(request)) as events:
                async for event in events:
                    stream.events.append(event)
                    self._tell(name)
        except AnubhavError as failure:
            stream.failure = failure
        except Exception as problem:  # noqa: BLE001 - told to the listener
            stream.failure = _unexpected(problem)
        finally:
            stream.ended = True
            self._tell(name)

    def _tell(self, name: str) -> None:
        self._news[name] = None
        self._more.set()

    def _end_forgotten(self) -> None:
        now = time.monotonic()
        if now - self._asked_at > _FORGOTTEN:
            for stream in self._streams.values():
                if stream.task:
                    stream.task.cancel()
            self._streams.clear()
            self._asked_at = now  # who begins now has not had the time to listen


def _open(folder: Path, dtype: str | None, version: str) -> Engine:
    check_node(folder, version)
    return open_engine(folder, dtype)


def whereabouts() -> dict[str, Any]:
    """Of this process."""
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    return {"pid": os.getpid(), "node": socket.gethostname(), "node_id": node}


def check_node(folder: Path, version: str) -> None:
    """Raises MissingPart when this node is not as the server is."""
    if version != anubhav.__version__:
        raise MissingPart(
            f"A node of the cluster has Anubhav {anubhav.__version__} and the server has {version}",
            hint="Install the same version on every node.",
        )
    if not (folder / "config.json").exists():
        raise MissingPart(
            f"The node {socket.gethostname()} has no model in the folder that the server has it in",
            hint="Put the folder there on every node, or on a disk they share.",
        )


async def _answer(work: Awaitable[Any]) -> Answer:
    try:
        return Answer(await work)
    except AnubhavError as failure:
        return Answer(failure=failure)
    except Exception as problem:  # noqa: BLE001 - told to the caller
        return Answer(failure=_unexpected(problem))


def _unexpected(problem: Exception) -> Broken:
    log.error("the engine failed", exc_info=problem)
    return Broken("The engine failed at this", hint="The log of the node says why.")
