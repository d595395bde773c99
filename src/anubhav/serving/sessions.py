"""Tinker's sampling sessions, and the promises of samples asked for through them.

Sample promises live in memory: after a restart they are gone and the SDK samples anew. The adapter is fixed when a
sample is asked for, so one queued before an optimizer step sees the old weights.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from anubhav.errors import AnubhavError, Broken, Busy, Gone, Mismatch, NotFound
from anubhav.rendering.renderer import Renderer
from anubhav.serving.streams import room_after, speak
from anubhav.serving.voices import Voice, Voices
from anubhav.store import samplers
from anubhav.store.database import Database
from anubhav.store.samplers import SamplerRow
from anubhav.types.ids import new_id
from anubhav.types.models import Model
from anubhav.types.sampling import PromptScores, SampleRequest, SamplingParams, StopReason, TopLogprobs

_KEPT_SECONDS = 600.0
"""How long a finished sample can be fetched, unless so many newer ones are finished:"""
_KEPT = 16_384
_OPEN = 4096
"""Requests under way at a time; beyond it Busy."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A sample request as Tinker words it."""

    prompt: tuple[int, ...]
    n: int = 1
    max_tokens: int | None = None
    """None: up to the context."""
    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] | tuple[int, ...] | None = None
    """None: the model's own end of turn. Empty: nothing stops it."""
    prompt_logprobs: bool = False
    top_prompt_logprobs: int = 0
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[TopLogprobs, ...]
    stop_reason: StopReason


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    samples: tuple[Sample, ...]
    prompt: PromptScores | None


@dataclass(frozen=True, slots=True)
class _Promise:
    tenant: str
    asked: tuple[str, int]
    ask: Ask
    task: "asyncio.Task[SampleOutcome]"


class SamplingSessions:
    def __init__(
        self, database: Database, voices: Voices, models: Mapping[str, Model], renderers: Mapping[str, Renderer]
    ) -> None:
        self._database, self._voices, self._models, self._renderers = database, voices, models, renderers
        self._promises: dict[str, _Promise] = {}
        self._asked: dict[tuple[str, int], str] = {}
        self._finished: deque[tuple[float, str]] = deque()

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
        row = await self._database.run(lambda c: samplers.find(c, sampler))
        if row is None or row.tenant != tenant:
            raise NotFound(f"There is no sampling session {sampler[:200]}", hint="Create one first.")
        return row

    async def submit(self, tenant: str, sampler: str, number: int, ask: Ask) -> str:
        """The promise of these samples; the same (sampler, number) is the same promise."""
        row = await self.find(tenant, sampler)
        voice = await (self._voices.of_path(tenant, row.path) if row.path else self._base(tenant, row.base_model))
        # Nothing waits from here on, so a repeat that arrives meanwhile finds the promise.
        if known := self._asked.get((sampler, number)):
            if self._promises[known].ask != ask:
                raise Mismatch(f"Sample {number} was asked for before with another content", hint="Use a new number.")
            return known
        request, stops = self._request(voice, ask)
        self._make_room()
        promise = new_id("sp")
        task = asyncio.create_task(self._run(voice, request, stops))
        task.add_done_callback(lambda done: self._finish(promise, done))
        self._promises[promise] = _Promise(tenant, (sampler, number), ask, task)
        self._asked[sampler, number] = promise
        return promise

    async def wait(self, tenant: str, promise: str, timeout: float) -> SampleOutcome | AnubhavError | None:  # noqa: ASYNC109 - a long poll
        """None: not ready within so many seconds. Raises Gone for a promise this process does not hold."""
        held = self._promises.get(promise)
        if held is None or held.tenant != tenant:
            raise Gone("This sample is no longer held", hint="Sample again.")
        done, _ = await asyncio.wait([held.task], timeout=timeout)
        if not done:
            return None
        if held.task.cancelled():
            raise Gone("This sample was cancelled", hint="Sample again.")
        problem = held.task.exception()
        if problem is None:
            return held.task.result()
        if isinstance(problem, AnubhavError):
            return problem
        raise Broken("Sampling failed", hint="The log says why.") from problem

    async def cancel(self, tenant: str, promise: str) -> None:
        """Frees its slots. Unknown promises are no error."""
        held = self._promises.get(promise)
        if held and held.tenant == tenant:
            held.task.cancel()

    async def stop(self) -> None:
        tasks = [held.task for held in self._promises.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finish(self, promise: str, task: "asyncio.Task[SampleOutcome]") -> None:
        self._finished.append((time.monotonic(), promise))
        if not task.cancelled():
            task.exception()  # seen: asyncio need not complain should nobody fetch it

    def _make_room(self) -> None:
        oldest = time.monotonic() - _KEPT_SECONDS
        while self._finished and (self._finished[0][0] < oldest or len(self._finished) > _KEPT):
            held = self._promises.pop(self._finished.popleft()[1])
            del self._asked[held.asked]
        if len(self._promises) - len(self._finished) >= _OPEN:
            raise Busy(f"{_OPEN} samples are waiting already", hint="Send fewer at a time.", retry_after=2)

    def _request(self, voice: Voice, ask: Ask) -> tuple[SampleRequest, tuple[str, ...]]:
        room = room_after(ask.prompt, self._models[voice.base_model])
        stops = tuple(stop for stop in ask.stop or () if isinstance(stop, str))
        ends = tuple(stop for stop in ask.stop or () if isinstance(stop, int))
        if ask.stop is None:
            ends = self._renderers[voice.base_model].stop_tokens
        params = SamplingParams(
            min(ask.max_tokens or room, room), ask.temperature, ask.top_k, ask.top_p, ask.seed, ends
        )
        request = SampleRequest(
            ask.prompt, params, voice.adapter, ask.n, 0, ask.prompt_logprobs, ask.top_prompt_logprobs, ask.top_logprobs,
            "rollout",
        )  # fmt: skip
        return request, stops

    async def _run(self, voice: Voice, request: SampleRequest, stops: tuple[str, ...]) -> SampleOutcome:
        tokens: list[list[int]] = [[] for _ in range(request.n)]
        logprobs: list[list[float]] = [[] for _ in range(request.n)]
        top: list[list[TopLogprobs]] = [[] for _ in range(request.n)]
        reasons: list[StopReason] = ["length"] * request.n
        prompt: PromptScores | None = None
        renderer = self._renderers[voice.base_model]
        async with aclosing(speak(self._voices, voice, request, renderer, stops)) as stream:
            async for piece in stream:
                tokens[piece.index].extend(piece.tokens)
                logprobs[piece.index].extend(piece.logprobs)
                top[piece.index].extend(piece.top)
                reasons[piece.index] = piece.stop_reason or reasons[piece.index]
                prompt = prompt or piece.prompt
        rows = zip(tokens, logprobs, top, reasons, strict=True)
        return SampleOutcome(tuple(Sample(tuple(t), tuple(lp), tuple(k), reason) for t, lp, k, reason in rows), prompt)
