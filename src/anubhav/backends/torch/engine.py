"""The owner thread: one loop that takes turns between decoding and training on one frozen base.

Nothing else touches a tensor. The ports below hand work in through a queue and get results back in their event loop.
Chats come first: a token each between any two layers of a training pass. After a micro-batch the sampler may use as
much time as that took before the next one begins, so rollouts go on while training does. Tenants take turns in both.
"""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from anubhav.backends.bending import Bend, bends, refuse_bends
from anubhav.backends.torch.failures import told
from anubhav.backends.torch.files.blending import blend
from anubhav.backends.torch.files.peft_files import read_adapter, write_adapter
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.opening import open_model
from anubhav.backends.torch.precision import chosen
from anubhav.backends.torch.reading import Item, Reading
from anubhav.backends.torch.reading_attention import attend
from anubhav.backends.torch.reading_surprise import first_token, surprise
from anubhav.backends.torch.sampling.sampler import Sampling
from anubhav.backends.torch.sampling.speakers import Speaker
from anubhav.backends.torch.sampling.turns import Turns
from anubhav.backends.torch.sampling.voices import Voice
from anubhav.backends.torch.training.trainer import Training
from anubhav.errors import AnubhavError, BadInput, NotFound, Unavailable
from anubhav.types.arrays import Array
from anubhav.types.distilling import Distillation, Distilled
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest
from anubhav.types.training import LoraSpec, OptimParams, Pass, PassResult

T = TypeVar("T")
Steps = Generator[None, None, Any]


class TorchEngine:
    """Loads a model folder and serves both ports over it. fp32 on CPU: there sampler and trainer agree to 1e-4."""

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str | None = None) -> None:
        self._turns = Turns(owed=10.0, level=0.0)
        """Of training, in seconds."""
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._jobs: list[_Job] = []
        self._owners: dict[AdapterId, str] = {}
        """Who trains an adapter, so that its steps and saves are in the same turns as its passes."""
        self._credit = self._breathed = 0.0
        """Seconds the sampler may use before training goes on, and those it used within the micro-batch under way."""
        self._open = True
        opened: Future[Decoder] = Future()
        kind = torch.device(device)
        load = partial(open_model, folder, device=kind, dtype=chosen(dtype, kind))
        self._thread = threading.Thread(target=self._serve, args=(load, opened), name="engine", daemon=True)
        self._thread.start()
        self.model = opened.result()
        self.trainer = TorchTrainer(self)
        self.sampler = TorchSampler(self, folder)
        self.reader = TorchReader(self, folder)
        self.name = folder.name

    async def look(self) -> list[dict[str, Any]]:
        return [{"post": f"{self.name} here", "term": 1, "alive": self._thread.is_alive()}]

    def close(self) -> None:
        """Stop after the micro-batch or decode step under way; unfinished work is refused. Safe to call twice."""
        if self._open:
            self._open = False
            self._inbox.put(None)
            self._thread.join()

    def forget(self, adapter: AdapterId) -> None:
        """In the owner thread: nothing more is trained on it."""
        self.training.drop(adapter)
        self._owners.pop(adapter, None)

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` in the owner thread, soon."""
        self._inbox.put(action)

    async def work(self, make: Callable[[], Steps], *, adapter: AdapterId | None = None, tenant: str = "") -> Any:
        """Run a job in the owner thread; returns what the generator returns. Jobs on one adapter keep their order."""
        if not self._open:
            raise Unavailable("The engine is stopping", hint="Repeat the request in a moment.")
        future: Future[Any] = Future()

        def begin() -> None:
            if adapter and tenant:
                self._owners[adapter] = tenant
            owner = self._owners.get(adapter, tenant) if adapter else tenant
            self._jobs.append(_Job(make(), future, adapter, owner))

        self.post(begin)
        # Shielded: a caller that goes away must not cancel what the owner thread is about to finish.
        done = asyncio.wrap_future(future)
        # A failure that nobody waits for any more is no news for the log.
        done.add_done_callback(lambda one: one.cancelled() or one.exception())
        return await asyncio.shield(done)

    async def call(self, action: Callable[[], T], adapter: AdapterId | None = None) -> T:
        """Run one plain function as a job."""
        return await self.work(lambda: _once(action), adapter=adapter)

    def _serve(self, load: Callable[[], Decoder], opened: Future[Decoder]) -> None:
        # The model is opened here too: as soon as a second thread has computed anything large, OpenMP counts more
        # threads than processors, lets its own fall asleep after every loop, and decoding takes 1.4 times as long.
        try:
            model = load()
            self.training = Training(model, pause=self.breathe)
            self.sampling = Sampling(model)
        except BaseException as problem:  # noqa: BLE001 - raised where it is waited for
            opened.set_exception(problem)
            return
        opened.set_result(model)
        going = True
        while going:
            try:
                self._work()
                going = False
            except BaseException as problem:  # noqa: BLE001 - without this thread everybody would wait for ever
                self._end(told(problem))
        self._end(Unavailable("The engine was stopped", hint="Repeat the request in a moment."))

    def _work(self) -> None:
        while self._take():
            if self.sampling.busy and (self._credit > 0 or not self._jobs):
                started = time.monotonic()
                self._sample()
                self._credit -= time.monotonic() - started
            elif self._jobs:
                started, self._breathed = time.monotonic(), 0.0
                self._advance()
                self._credit = time.monotonic() - started - 2 * self._breathed

    def _end(self, failure: AnubhavError) -> None:
        """Everything under way, by this."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(failure)
        self.sampling.fail(failure)
        self._turns.want(set())

    def _take(self) -> bool:
        """Run what was posted, waiting for it only when there is nothing else to do. False: stop."""
        idle = not self.sampling.busy and not self._jobs
        while idle or not self._inbox.empty():
            action = self._inbox.get()
            if action is None:
                return False
            action()
            idle = False
        return True

    def _advance(self) -> None:
        """One micro-batch of the tenant that used the engine least."""
        self._turns.want({job.tenant for job in self._jobs})
        first = {job.adapter: job for job in reversed(self._jobs)}
        ready = {job.tenant: job for job in reversed(self._jobs) if first[job.adapter] is job}
        job = ready[self._turns.order(ready)[0]]
        started = time.monotonic()
        try:
            next(job.steps)
        except StopIteration as done:
            self._jobs.remove(job)
            job.future.set_result(done.value)
        except Exception as problem:  # noqa: BLE001 - handed to the caller that is waiting for it
            self._jobs.remove(job)
            job.future.set_exception(told(problem))
        self._turns.charge(job.tenant, time.monotonic() - started)
        self._turns.want({job.tenant for job in self._jobs})

    def breathe(self) -> None:
        """Within a training pass: let in who came meanwhile, and give everybody who watches words come the next."""
        while not self._inbox.empty():
            action = self._inbox.get()
            if action is None:
                self._inbox.put(None)  # to stop, after this micro-batch
                break
            action()
        if self.sampling.chatting:
            started = time.monotonic()
            self._sample()
            self._breathed += time.monotonic() - started

    def _sample(self) -> None:
        try:
            self.sampling.step()
        except Exception as problem:  # noqa: BLE001 - handed to all who listen
            self.sampling.fail(told(problem))


@dataclass(eq=False, slots=True)
class _Job:
    steps: Steps
    future: Future[Any]
    adapter: AdapterId | None
    tenant: str


def _once(action: Callable[[], T]) -> Generator[None, None, T]:
    return action()
    yield


class TorchTrainer:
    """The Trainer port."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine

    async def create(self, adapter: AdapterId, spec: LoraSpec) -> None:
        await self._engine.call(lambda: self._engine.training.create(adapter, spec), adapter)

    async def run(self, passes: Sequence[Pass], *, tenant: str = "") -> Sequence[PassResult]:
        training = self._engine.training
        return [
            await self._engine.work(lambda work=work: training.run(work), adapter=work.adapter, tenant=tenant)
            for work in passes
        ]

    async def step(self, adapter: AdapterId, params: OptimParams) -> Mapping[str, float]:
        return await self._engine.call(lambda: self._engine.training.step(adapter, params), adapter)

    async def save(self, adapter: AdapterId, to: Path, *, optimizer: bool) -> None:
        def write() -> None:
            pupil = self._engine.training.pupil(adapter)
            write_adapter(self._engine.model.config, pupil.adapter, to, pupil.moments if optimizer else None)

        await self._engine.call(write, adapter)

    async def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        def read() -> None:
            model = self._engine.model
            found, moments = read_adapter(model.config, source, model.device)
            self._engine.training.adopt(adapter, found, moments if optimizer else None)

        await self._engine.call(read, adapter)

    async def blend(self, adapter: AdapterId, parts: Sequence[tuple[Path, float]]) -> None:
        def join() -> None:
            model = self._engine.model
            read = [(read_adapter(model.config, folder, model.device)[0], share) for folder, share in parts]
            self._engine.training.adopt(adapter, blend(model.config, read, model.device), None)

        await self._engine.call(join, adapter)

    async def distil(
        self, adapter: AdapterId, work: Distillation, reference: Path | None, *, tenant: str = ""
    ) -> Distilled:
        def learn() -> Generator[None, None, Distilled]:
            model = self._engine.model
            other = read_adapter(model.config, reference, model.device)[0] if reference else None
            return (yield from self._engine.training.distil(adapter, work, other))

        return await self._engine.work(learn, adapter=adapter, tenant=tenant)

    async def drop(self, adapter: AdapterId) -> None:
        await self._engine.call(lambda: self._engine.forget(adapter), adapter)


class TorchReader:
    """The Reader port."""

    def __init__(self, engine: TorchEngine, folder: Path) -> None:
        self._engine = engine
        self._reading = Reading(engine.model, folder, pause=engine.breathe)
        self._first = first_token(folder)

    async def read(self, items: Sequence[Item], *, tenant: str = "") -> list[Array]:
        return await self._engine.work(lambda: self._reading.read(items), tenant=tenant) if items else []

    async def surprise(self, items: Sequence[Item], *, tenant: str = "") -> list[list[float]]:
        engine = self._engine
        work = partial(surprise, engine.model, items, self._first, engine.breathe)
        return await engine.work(work, tenant=tenant) if items else []

    async def attend(
        self, prompt: Sequence[int], spans: Sequence[tuple[int, int]], last: int, *, tenant: str = ""
    ) -> list[float]:
        engine = self._engine
        return await engine.work(partial(attend, engine.model, prompt, spans, last, engine.breathe), tenant=tenant)


class TorchSampler:
    """The Sampler port."""

    def __init__(self, engine: TorchEngine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._speakers: dict[AdapterId, Speaker] = {}
        self._draws = 0

    async def attach(self, adapter: AdapterId, source: Path) -> None:
        def read() -> None:
            if adapter not in self._speakers:
                model = self._engine.model
                self._speakers[adapter] = Speaker(model.config, read_adapter(model.config, source, model.device)[0])

        await self._engine.call(read)

    async def detach(self, adapter: AdapterId) -> None:
        # Running samples hold the adapter themselves; forgetting the name is enough.
        await self._engine.call(lambda: self._speakers.pop(adapter, None))

    async def sample(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        bent = await bends(request.params, self._folder, request.n)
        self._check(request)
        if self._engine.model.config.mixture is None:
            request = replace(request, routes=False)
        events: asyncio.Queue[Sampled | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def emit(event: Sampled | Exception) -> None:
            with suppress(RuntimeError):  # its loop was closed: nobody listens any more
                loop.call_soon_threadsafe(events.put_nowait, event)

        voices = [self._voice(request, request.first_index + at, emit, bend) for at, bend in enumerate(bent)]
        self._engine.post(lambda: self._engine.sampling.add(voices))
        left = request.n
        try:
            while left:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event
                left -= event.stop_reason is not None
                yield event
        finally:
            for voice in voices:
                voice.cancelled = True

    def _voice(
        self, request: SampleRequest, index: int, emit: Callable[[Sampled | Exception], None], bend: Bend | None
    ) -> Voice:
        self._draws += 1
        seed = request.params.seed
        chosen = time.time_ns() + self._draws if seed is None else seed
        speaker = self._speakers[request.adapter] if request.adapter else None
        return Voice(request, index, chosen, speaker, emit, bend)

    def _check(self, request: SampleRequest) -> None:
        config = self._engine.model.config
        if request.adapter and request.adapter not in self._speakers:
            raise NotFound(f"The sampler has no adapter {request.adapter}", hint="Attach it first.")
        if not request.prompt or not all(0 <= token < config.vocab for token in request.prompt):
            raise BadInput(
                f"A prompt needs token ids in 0..{config.vocab - 1}", hint="Tokenize with the model's tokenizer."
            )
        capacity = self._engine.sampling.capacity
        if len(request.prompt) >= capacity:
            raise BadInput(
                f"The prompt has {len(request.prompt)} tokens and at most {capacity - 1} can be read here",
                hint="Shorten it.",
            )
        if request.params.max_tokens < 1 or request.n < 1:
            raise BadInput("max_tokens and the number of samples must be at least 1", hint="Raise them.")
        refuse_bends(request.params, config.vocab)
