"""The Sampler port over one supervised vLLM server. The numbers are vLLM's; names, refusals and order are ours.

Adapters are attached under the names they have everywhere, hashes of their weights. After the server ended and was
started again they are attached again before anything is sampled.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx2

from anubhav.backends.bending import refuse_bends
from anubhav.backends.vllm import launch, wire
from anubhav.backends.vllm.adapters import copy_adapter
from anubhav.backends.vllm.environment import Environment, ready_environment
from anubhav.backends.vllm.launch import ModelFacts, Options
from anubhav.backends.vllm.scoring import score
from anubhav.backends.vllm.server import Server
from anubhav.errors import AnubhavError, BadInput, Broken, NotFound, Unavailable
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import PromptScores, Sampled, SampleRequest, SamplingParams

_COLDEST, _HOTTEST = 0.01, 2.0
"""The temperatures that vLLM samples at, beside 0."""
_PENALTY = 2.0
"""The most that vLLM takes, and the same below 0."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    folder: Path
    users: int = 0
    leaving: bool = False


class VllmSampler:
    """Starts a server for a model folder, in vLLM's own environment, and samples from it."""

    def __init__(self, folder: Path, options: Options | None = None, environment: Environment | None = None) -> None:
        """Raises MissingPart without an environment, BadInput for a model that vLLM computes wrongly here."""
        options, environment = options or Options(), environment or ready_environment()
        facts = launch.read_facts(folder, options)
        launch.refuse(facts, environment)
        self._begin(facts, options, environment)
        self._server = Server(
            launch.command(facts, environment, options, self._home),
            launch.surroundings(environment, options, self._home),
            self._home,
            options.start_seconds,
            self._prepare,
        )

    def _begin(self, facts: ModelFacts, options: Options, environment: Environment) -> None:
        self._facts, self._options = facts, options
        self._adapts = launch.takes_adapters(facts, environment)
        self._home = launch.make_home()
        self._held: dict[AdapterId, _Held] = {}
        self._moving = asyncio.Lock()
        """Held while one is loaded or unloaded."""
        self._rows: Counter[str] = Counter()
        """Under way, by tenant."""

    @property
    def server(self) -> Server:
        return self._server

    @property
    def running(self) -> int:
        """Samples on their way."""
        return self._rows.total()

    def close(self) -> None:
        self._server.close()

    def _prepare(self, client: httpx2.Client) -> None:
        """After every start, in the server's thread."""
        if not launch.taught(self._home).exists():
            raise Broken("vLLM did not learn what it must, so its log-probabilities would be wrong")
        for adapter, held in list(self._held.items()):
            reply = client.post(wire.LOAD, json=_load(adapter, held.folder), timeout=None)
            if reply.status_code != 200:
                log.warning("After its start vLLM does not take the adapter %s any more: %s", adapter, reply.text[:300])

    # Adapters

    async def attach(self, adapter: AdapterId, source: Path) -> None:
        if not self._adapts:
            raise BadInput(
                "vLLM on a CPU has no adapters for models of experts: its kernels for them need a GPU",
                hint="Sample with our own engine, or use a GPU.",
            )
        async with self._moving:
            if adapter in self._held:
                self._held[adapter].leaving = False
                return
            shelf = self._home / "adapters"
            held = _Held(await asyncio.to_thread(copy_adapter, adapter, source, shelf, self._options.rank))
            # Under its name from here on, so that a server that starts meanwhile takes it.
            self._held[adapter] = held
            try:
                await self._load(adapter, held.folder)
            except BaseException:
                del self._held[adapter]
                rmtree(held.folder, ignore_errors=True)
                raise

    async def _load(self, adapter: AdapterId, folder: Path) -> None:
        for last in (False, True):
            try:
                await self._server.post(wire.LOAD, _load(adapter, folder))
                return
            except Unavailable:
                if last:
                    raise
            except BadInput as problem:
                if "already been loaded" in problem.message:  # by the start of a new server, meanwhile
                    return
                raise
            except Broken as problem:
                said = problem.message.replace(str(folder), "its folder")
                raise BadInput(f"The adapter was not taken. {said}", hint="Save it again with PEFT.") from problem

    async def detach(self, adapter: AdapterId) -> None:
        if held := self._held.get(adapter):
            held.leaving = True
            await self._let_go(adapter, held)

    async def _let_go(self, adapter: AdapterId, held: _Held) -> None:
        """Forget one that is leaving, once nobody speaks with it."""
        async with self._moving:
            if not held.leaving or held.users or self._held.get(adapter) is not held:
                return
            del self._held[adapter]
            with suppress(AnubhavError):  # a server that ended has forgotten it
                await self._server.post(wire.UNLOAD, {"lora_name": adapter})
            rmtree(held.folder, ignore_errors=True)

    # Sampling

    async def sample(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        self._check(request)
        held = self._held[request.adapter] if request.adapter else None
        if held:
            held.users += 1
        ahead = self._rows[request.tenant]
        self._rows[request.tenant] += request.n
        try:
            scores = await self._score(request, ahead)
            async with aclosing(self._samples(request, ahead)) as stream:
                async for event in stream:
                    yield replace(event, prompt=scores)
                    scores = None
        finally:
            self._rows[request.tenant] -= request.n
            if not self._rows[request.tenant]:
                del self._rows[request.tenant]
            if held and request.adapter:
                held.users -= 1
                if held.leaving:
                    await self._let_go(request.adapter, held)

    async def _score(self, request: SampleRequest, ahead: int) -> PromptScores | None:
        if not request.scores_prompt:
            return None

        async def post(asked: SampleRequest, params: dict[str, Any]) -> Any:
            return await self._server.post(wire.GENERATE, wire.body(asked, ahead=ahead, **params))

        return await score(request, post, vocab=self._facts.vocab, rows=self._options.rows)

    async def _samples(self, request: SampleRequest, ahead: int) -> AsyncGenerator[Sampled]:
        greedy = request.params.temperature == 0
        # All greedy samples are one, and vLLM refuses to compute it more than once.
        count, rows = 1 if greedy else request.n, self._options.rows
        seed = wire.first_seed(request.params) + request.first_index
        heard: asyncio.Queue[Sampled | AnubhavError] = asyncio.Queue()
        parts = [
            asyncio.create_task(self._part(request, seed, range(at, min(at + rows, count)), ahead, heard))
            for at in range(0, count, rows)
        ]
        left = request.n
        try:
            while left:
                event = await heard.get()
                if isinstance(event, AnubhavError):
                    raise event
                for copy in range(request.n if greedy else 1):
                    left -= event.stop_reason is not None
                    yield replace(event, index=event.index + request.first_index + copy)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _part(
        self, request: SampleRequest, seed: int, places: range, ahead: int, heard: asyncio.Queue[Sampled | AnubhavError]
    ) -> None:
        """Some samples of a request, as many as the server takes at once."""
        room = self._facts.context - len(request.prompt)
        params = wire.sampling(request, seed=seed + places.start, count=len(places), room=room, vocab=self._facts.vocab)
        said = wire.streamed(wire.body(request, ahead=ahead + places.start, **params))
        left = len(places)
        try:
            async with aclosing(self._server.stream(wire.GENERATE, said)) as chunks:
                async for chunk in chunks:
                    for event in wire.events(chunk, request):
                        left -= event.stop_reason is not None
                        heard.put_nowait(replace(event, index=event.index + places.start))
            if left:
                raise Unavailable("vLLM stopped in the midst of a sample", hint="Repeat the request.")
        except AnubhavError as problem:
            heard.put_nowait(problem)
        except Exception as problem:
            log.exception("vLLM answered what is not understood")
            heard.put_nowait(Broken(f"vLLM answered what is not understood ({problem!r})"))

    def _check(self, request: SampleRequest) -> None:
        facts, params = self._facts, request.params
        held = self._held.get(request.adapter) if request.adapter else None
        if request.adapter and (held is None or held.leaving):
            raise NotFound(f"The sampler has no adapter {request.adapter}", hint="Attach it first.")
        if not request.prompt or not all(0 <= token < facts.vocab for token in request.prompt):
            raise BadInput(
                f"A prompt needs token ids in 0..{facts.vocab - 1}", hint="Tokenize with the model's tokenizer."
            )
        if len(request.prompt) >= facts.context:
            raise BadInput(
                f"The prompt has {len(request.prompt)} tokens and at most {facts.context - 1} can be read here",
                hint="Shorten it.",
            )
        if params.max_tokens < 1 or request.n < 1:
            raise BadInput("max_tokens and the number of samples must be at least 1", hint="Raise them.")
        _refuse_bends(params, facts.vocab)
        if params.temperature != 0 and not _COLDEST <= params.temperature <= _HOTTEST:
            raise BadInput(
                f"vLLM does not sample at temperature {params.temperature}",
                hint=f"Choose 0, or from {_COLDEST} to {_HOTTEST}.",
            )
        if request.routes and facts.mixture:
            raise BadInput("This vLLM does not tell which experts a token went to", hint="Sample with our own engine.")


def _refuse_bends(params: SamplingParams, vocab: int) -> None:
    refuse_bends(params, vocab)
    if abs(params.presence_penalty) > _PENALTY or abs(params.frequency_penalty) > _PENALTY:
        raise BadInput(f"vLLM has penalties from {-_PENALTY} to {_PENALTY} alone", hint="Choose one of these.")
    if params.grammar:
        # It masks the logits before it takes log-probabilities from them, and knows no tokenizer here.
        raise BadInput(
            "This vLLM holds no sample to a grammar: its log-probabilities would not be the model's own",
            hint="Sample with our own engine, or ask for text.",
        )


def _load(adapter: AdapterId, folder: Path) -> dict[str, str]:
    return {"lora_name": adapter, "lora_path": str(folder)}
