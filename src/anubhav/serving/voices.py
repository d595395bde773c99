"""Voices: what a model name means at this moment. A reply keeps the voice it began with, whatever is released then.

Adapters are loaded into the samplers when first asked for and let go when many newer ones were used since.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anubhav.errors import BadInput, NotFound
from anubhav.ports import Sampler
from anubhav.serving.meter import Meter
from anubhav.store import releases, trials, tuning
from anubhav.store.database import Database
from anubhav.telemetry.metrics import Sampling
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest
from anubhav.types.tuning import TunedModel

_ATTACHED = 32
"""Adapters kept ready per process, beyond those in use."""
_DEFAULT = "default"
_Seat = tuple[Sampler, AdapterId]
"""Not the model's name: several names may share one sampler."""


class Shelf(Protocol):
    """Where checkpoints are found and verified (training.checkpoints)."""

    async def find(self, tenant: str, path: str) -> Checkpoint: ...

    async def folder(self, checkpoint: Checkpoint) -> Path: ...


@dataclass(frozen=True, slots=True)
class Voice:
    name: str
    """The alias without its `@stable`, the base model, or the path: what episodes are filed under."""
    base_model: str
    adapter: AdapterId | None = None
    path: str | None = None
    folder: Path | None = None


class Voices:
    def __init__(self, database: Database, samplers: Mapping[str, Sampler], shelf: Shelf) -> None:
        """`samplers` by base model, the first being the one that aliases start from."""
        self._database, self._samplers, self._shelf = database, samplers, shelf
        self._recent: OrderedDict[_Seat, None] = OrderedDict()
        self._in_use: Counter[_Seat] = Counter()
        self._attaching = asyncio.Lock()
        self.meter = Meter(database)

    async def resolve(self, tenant: str, name: str) -> Voice:
        """A base model, an alias (`default`, `default@stable`), a fine-tuned model, a `tinker://` path, or
        `<base>;<path>`.

        `default@candidate` is what is tried out now, if anything, and `default@base` the frozen model beneath. An alias
        to which nothing was released yet speaks as the first base model. Raises NotFound, saying what there is, and
        BadInput for a path that belongs to another base.
        """
        if name in self._samplers:
            return Voice(name, name)
        if tuned := await self.tuned(tenant, name):
            return await self.of_path(tenant, tuned.path, name)
        if not any(scheme in name for scheme in ("tinker://", "mint://")):
            return await self._of_alias(name)
        base, _, path = name.rpartition(";")
        voice = await self.of_path(tenant, path, name)
        if base and self._samplers.get(base) is not self._samplers[voice.base_model]:
            raise BadInput(f"{voice.path} belongs to {voice.base_model}, not to {base[:200]!r}", hint="Name that one.")
        return voice

    async def of_path(self, tenant: str, path: str, name: str | None = None) -> Voice:
        """The voice of a checkpoint of this tenant, or of a public one."""
        checkpoint = await self._shelf.find(tenant, path)
        if checkpoint.base_model not in self._samplers:
            raise NotFound(
                f"The base model {checkpoint.base_model} is not served now", hint="Start the server with it."
            )
        folder = await self._shelf.folder(checkpoint)
        return Voice(name or path, checkpoint.base_model, checkpoint.adapter, str(checkpoint.path), folder)

    async def _of_alias(self, name: str) -> Voice:
        alias, _, step = name.partition("@")
        known = await self.names()
        if step not in ("", "stable", "candidate", "base") or alias not in known or alias in self._samplers:
            raise NotFound(f"There is no model {name[:200]!r}", hint=f"Use one of: {', '.join(known)}.")
        find = trials.running if step == "candidate" else releases.current
        release = await self._database.recall((find, alias), lambda c: find(c, alias))
        if step == "candidate" and release is None:
            raise NotFound(f"Nothing is tried out for {alias} now", hint=f"Ask for {alias}.")
        if release is None or release.path is None:
            return Voice(alias, next(iter(self._samplers)))
        path = release.path
        # A release belongs to the operator: whoever may use the alias may hear it.
        owner = await self._database.run(lambda c: releases.owner(c, path))
        found = await self.of_path(owner, path)
        if step == "base":
            return Voice(alias, found.base_model)
        return Voice(alias, found.base_model, found.adapter, found.path, found.folder)

    @property
    def attached(self) -> Counter[str]:
        """Adapters that are ready to speak, by base model; names that share a sampler count as the first of them."""
        names = {sampler: name for name, sampler in reversed([*self._samplers.items()])}
        return Counter(names[sampler] for sampler, _ in self._recent)

    async def names(self) -> list[str]:
        """What can be asked for by everybody: base models, then aliases."""
        aliases = await self._database.recall("aliases", releases.aliases)
        return [*self._samplers, *dict.fromkeys([_DEFAULT, *aliases])]

    async def tuned(self, tenant: str, name: str) -> TunedModel | None:
        """The fine-tuned model of this tenant's and name."""
        if not name.startswith("ft:"):
            return None
        return await self._database.run(lambda c: tuning.find_model(c, tenant, name))

    async def all_tuned(self, tenant: str) -> list[TunedModel]:
        """Newest first; those that jobs left along the way answer too, and are listed with their job."""
        return [one for one in await self._database.run(lambda c: tuning.models(c, tenant)) if one.id is None]

    async def sample(self, voice: Voice, request: SampleRequest) -> AsyncGenerator[Sampled]:
        """Stream from the voice's base model; `request.adapter` must be the voice's. Closing it frees the slots."""
        tokens = 0
        self.meter.begin(request.tenant)
        try:
            async with aclosing(self._spoken(voice, request)) as stream:
                with Sampling(voice.base_model, request.n) as counted:
                    async for event in stream:
                        # A request split in parts has one prompt.
                        read = 0 if tokens or request.first_index else len(request.prompt)
                        tokens += len(event.tokens) + read
                        counted.hear(event.index, len(event.tokens), event.stop_reason, read)
                        yield event
        finally:
            self.meter.end(request.tenant, tokens)

    async def _spoken(self, voice: Voice, request: SampleRequest) -> AsyncGenerator[Sampled]:
        seat = await self._attach(voice)
        try:
            async with aclosing(self._samplers[voice.base_model].sample(request)) as stream:
                async for event in stream:
                    yield event
        finally:
            if seat:
                self._in_use[seat] -= 1
                if not self._in_use[seat]:
                    del self._in_use[seat]

    async def _attach(self, voice: Voice) -> _Seat | None:
        if voice.adapter is None or voice.folder is None:
            return None
        seat = (self._samplers[voice.base_model], voice.adapter)
        async with self._attaching:
            if seat not in self._recent:
                await seat[0].attach(seat[1], voice.folder)
            self._recent[seat] = None
            self._recent.move_to_end(seat)
            idle = [old for old in self._recent if old != seat and not self._in_use[old]]
            for old in idle[: max(0, len(self._recent) - _ATTACHED)]:
                del self._recent[old]
                await old[0].detach(old[1])
            self._in_use[seat] += 1  # last: whoever is cancelled above holds nothing
        return seat
