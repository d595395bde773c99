"""Tinker's sampling sessions, and the promises of samples asked for through them.

Sample promises live in memory: after a restart they are gone and the SDK samples anew. The adapter is fixed when a
sample is asked for, so one queued before an optimizer step, or before an inflight save, sees the old weights.
"""

import array
import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace

from anubhav.errors import AnubhavError, Broken, Gone, Mismatch, NotFound
from anubhav.rendering.renderer import Renderer
from anubhav.serving.asks import Ask, Sample, SampleOutcome, read_ask
from anubhav.serving.feeds import Feeds, Ready, Target, lost
from anubhav.serving.lines import Lines, Place
from anubhav.serving.recall import Recalled, pack_routes, recall_all
from anubhav.serving.streams import speak
from anubhav.serving.voices import Voice, Voices
from anubhav.store import samplers, sequences
from anubhav.store.database import Database
from anubhav.store.samplers import SamplerRow
from anubhav.store.sequences import SequenceRow
from anubhav.telemetry.notes import note
from anubhav.types.arrays import Array
from anubhav.types.ids import new_id
from anubhav.types.models import Model
from anubhav.types.quotas import Quota
from anubhav.types.sampling import PromptScores, SampleRequest, StopReason, TopLogprobs

_KEPT_SECONDS = 600.0
"""How long a finished sample can be fetched, unless so many newer ones are finished:"""
_KEPT = 16_384
_ABANDONED_SECONDS = 90.0
"""A sample under way that nobody has waited for during this time makes room for new ones: its client is gone."""
_SWEEPS = 30
"""Looks for such samples within that time, as there may be very many to look at."""
_CLONE = 1_000_000_000
"""Every client of a sampling session numbers its requests in a block of its own, of this size."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not ready yet."""

    begun: bool
    """False: it waits for its turn, as the engine is full."""
    ahead: int = 0
    """The tenant's own requests that came before and have not begun either."""
    others: int = 0
    """Those of other tenants, with which it takes turns."""


@dataclass(slots=True)
class _Watch:
    """Who waits for a promise now, or for all of a client's, and until when somebody did."""

    waiting: int = 0
    until: float = field(default_factory=time.monotonic)
    held: int = 0
    """Promises of the client."""

    def __enter__(self) -> None:
        self.waiting += 1

    def __exit__(self, *_: object) -> None:
        self.waiting -= 1
        self.until = time.monotonic()


@dataclass(frozen=True, slots=True)
class _Promise:
    tenant: str
    asked: tuple[str, int]
    ask: Ask
    place: Place
    task: "asyncio.Task[SampleOutcome]"
    watch: "_Watch"
    client: "_Watch"

    @property
    def target(self) -> Target:
        return _target(self.asked)

    def abandoned(self, gone: float) -> bool:
        """Since before that moment nobody has waited for it."""
        watches = (self.watch, self.client)
        return not any(watch.waiting for watch in watches) and max(watch.until for watch in watches) < gone


def _target(asked: tuple[str, int]) -> Target:
    return asked[0], asked[1] // _CLONE


class SamplingSessions:
    def __init__(
        self, database: Database, voices: Voices, models: Mapping[str, Model], renderers: Mapping[str, Renderer]
    ) -> None:
        self._database, self._voices, self._models, self._renderers = database, voices, models, renderers
        self._promises: dict[str, _Promise] = {}
        self._asked: dict[tuple[str, int], str] = {}
        self._finished: OrderedDict[str, float] = OrderedDict()
        self._clients: dict[Target, _Watch] = {}
        """Those that have promises here."""
        self._swept = 0.0
        self._feeds = Feeds()
        self._lines = Lines()

    async def open(
        self, tenant: str, session: str, number: int, *, base_model: str | None = None, path: str | None = None
    ) -> str:
        """A sampling session on a base model or a checkpoint; the same (session, number) is the same one."""
        voice = await self._voices.of_path(tenant, path) if path else await self._base(tenant, base_model)
        sampler = f"{session}:sample:{number}"
        row = SamplerRow(sampler, session, tenant, voice.base_model, voice.path)
        if not await self._database.run(lambda c: samplers.add(c, row)):
            raise NotFound(f"There is no open session {session[:100]}", hint="Create a session first.")
        return sampler

    async def _base(self, tenant: str, base_model: str | None) -> Voice:
        if base_model is None or base_model not in self._models:
            raise NotFound(f"The model {str(base_model)[:200]!r} is not served here", hint=f"Use {list(self._models)}.")
        return await self._voices.resolve(tenant, base_model)

    async def find(self, tenant: str, sampler: str) -> SamplerRow:
        """Of an inflight session, with the path of the newest weights."""
        return _owned(await self._database.run(lambda c: samplers.find(c, sampler)), tenant, sampler)

    async def join(self, tenant: str, sampler: str) -> int:
        """The number of one more client of this session; the first client is 0 and does not ask."""
        await self.find(tenant, sampler)
        return await self._database.run(lambda c: samplers.join(c, sampler))

    async def submit(self, tenant: str, sampler: str, number: int, ask: Ask) -> str:
        """The promise of these samples; the same (sampler, number) is the same promise."""
        known = self._asked.get((sampler, number))
        meter = self._voices.meter
        found, quota = await self._database.run(
            # One sent again is not one more.
            lambda c: (samplers.find(c, sampler), Quota() if known else meter.room(c, tenant))
        )
        row = _owned(found, tenant, sampler)
        note(model=row.base_model, session=row.session)
        voice = await (self._voices.of_path(tenant, row.path) if row.path else self._base(tenant, row.base_model))
        # Nothing waits from here on, so a repeat that arrives meanwhile finds the promise.
        if known := self._asked.get((sampler, number)):
            if self._promises[known].ask != ask:
                raise Mismatch(f"Sample {number} was asked for before with another content", hint="Use a new number.")
            return known
        request, stops = read_ask(ask, voice.adapter, self._models[voice.base_model], self._renderers[voice.base_model])
        request = replace(request, tenant=tenant)
        self._make_room()
        promise, place = new_id("sp"), self._lines.join(tenant, quota)
        task = asyncio.create_task(self._run(promise, place, ask, voice, request, stops))
        client = self._clients.setdefault(_target((sampler, number)), _Watch())
        client.held += 1
        self._promises[promise] = _Promise(tenant, (sampler, number), ask, place, task, _Watch(), client)
        self._asked[sampler, number] = promise
        task.add_done_callback(lambda done: self._finish(promise, done))
        return promise

    async def wait(self, tenant: str, promise: str, timeout: float) -> SampleOutcome | AnubhavError | Waiting:  # noqa: ASYNC109 - a long poll
        """Waiting: not ready within so many seconds. Raises Gone for a promise this process does not hold."""
        held = self._promises.get(promise)
        if held is None or held.tenant != tenant:
            raise Gone("This sample is no longer held", hint="Sample again.")
        with held.watch:
            done, _ = await asyncio.wait([held.task], timeout=timeout)
        if not done:
            return Waiting(held.place.begun, *self._lines.ahead(held.place))
        if held.task.cancelled():
            raise Gone("This sample was cancelled", hint="Sample again.")
        problem = held.task.exception()
        if problem is None:
            return held.task.result()
        if isinstance(problem, AnubhavError):
            return problem
        log.error("a sample failed", exc_info=problem)
        return Broken("Sampling failed", hint="The server's log says why.")

    async def recall(self, tenant: str, wanted: Iterable[str]) -> Mapping[str, Recalled]:
        """What these sequences were drawn with, by id, as far as they were recorded and are the tenant's."""
        return await recall_all(self._database, tenant, wanted)

    async def cancel(self, tenant: str, promise: str) -> None:
        """Frees its slots. Unknown promises are no error."""
        held = self._promises.get(promise)
        if held and held.tenant == tenant:
            held.task.cancel()

    async def ready(
        self,
        tenant: str,
        target: Target,
        seen: int,
        fetched: Iterable[str],
        timeout: float,  # noqa: ASYNC109 - a long poll
    ) -> tuple[list[Ready], int]:
        """The samples of one client that are ready after the cursor `seen`, and the new cursor.

        What it has `fetched` is let go. Raises Gone when an earlier process held what the client waits for.
        """
        await self.find(tenant, target[0])
        for promise in fetched:
            held = self._promises.get(promise)
            if held and held.target == target and promise in self._finished:
                self._forget(promise)
        client = self._clients.get(target)
        if timeout and client is None:
            raise lost()
        with client or nullcontext():
            return await self._feeds.read(target, seen, timeout)

    async def stop(self) -> None:
        tasks = [held.task for held in self._promises.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._voices.meter.stop()

    def _finish(self, promise: str, task: "asyncio.Task[SampleOutcome]") -> None:
        # Seeing the exception also keeps asyncio from complaining should nobody fetch it.
        failed = task.cancelled() or task.exception() is not None
        self._finished[promise] = time.monotonic()
        self._lines.leave(self._promises[promise].place)
        self._feeds.tell(self._promises[promise].target, promise, failed=failed)

    def _forget(self, promise: str) -> None:
        held = self._promises.pop(promise)
        del self._asked[held.asked]
        del self._finished[promise]
        held.client.held -= 1
        if not held.client.held:
            del self._clients[held.target]
        self._feeds.forget(promise)

    def _make_room(self) -> None:
        oldest = time.monotonic() - _KEPT_SECONDS
        while self._finished:
            promise, when = next(iter(self._finished.items()))
            if when >= oldest and len(self._finished) <= _KEPT:
                break
            self._forget(promise)
        now = time.monotonic()
        if now - self._swept < _ABANDONED_SECONDS / _SWEEPS:
            return
        self._swept = now
        for held in self._promises.values():
            if held.abandoned(now - _ABANDONED_SECONDS):
                held.task.cancel()

    async def _run(
        self,
        promise: str,
        place: Place,
        ask: Ask,
        voice: Voice,
        request: SampleRequest,
        stops: tuple[str, ...],
    ) -> SampleOutcome:
        tokens: list[list[int]] = [[] for _ in range(request.n)]
        logprobs: list[list[float]] = [[] for _ in range(request.n)]
        top: list[list[TopLogprobs]] = [[] for _ in range(request.n)]
        routes: list[list[Array]] = [[] for _ in range(request.n)]
        reasons: list[StopReason] = ["length"] * request.n
        prompt: PromptScores | None = None
        cached = 0
        renderer = self._renderers[voice.base_model]
        async with aclosing(speak(self._voices, voice, request, renderer, stops)) as stream:
            async for piece in stream:
                self._lines.begin(place)
                tokens[piece.index].extend(piece.tokens)
                logprobs[piece.index].extend(piece.logprobs)
                top[piece.index].extend(piece.top)
                routes[piece.index] += [piece.routes] if piece.routes else []
                reasons[piece.index] = piece.stop_reason or reasons[piece.index]
                prompt = prompt or piece.prompt
                cached += 0 if piece.index else piece.cached
        rows = zip(tokens, logprobs, top, reasons, strict=True)
        samples = tuple(Sample(tuple(t), tuple(lp), tuple(k), reason) for t, lp, k, reason in rows)
        if ask.recorded:
            said = _records(promise, samples, [pack_routes(len(request.prompt), parts) for parts in routes])
            await self._database.run(lambda c: sequences.add(c, place.tenant, said))
        return SampleOutcome(samples, prompt, ask.targets, cached)


def _owned(row: SamplerRow | None, tenant: str, sampler: str) -> SamplerRow:
    if row is None or row.tenant != tenant:
        raise NotFound(f"There is no sampling session {sampler[:200]}", hint="Create one first.")
    return row


def sequence_ids(promise: str, n: int) -> list[str]:
    """What later requests call the samples of a promise."""
    return [f"{promise}:{index}" for index in range(n)]


def _records(promise: str, samples: tuple[Sample, ...], routes: Sequence[bytes | None]) -> list[SequenceRow]:
    return [
        SequenceRow(name, array.array("i", one.tokens).tobytes(), array.array("f", one.logprobs).tobytes(), went)
        for name, one, went in zip(sequence_ids(promise, len(samples)), samples, routes, strict=True)
    ]
