"""Answers as the critic sees them: features of the frozen base, kept once read, and covariates of the text.

A reply is read in an idle moment after it was given; nobody waits for that, and under load it is left for later.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from anubhav.errors import AnubhavError, NotFound
from anubhav.ports import Reader
from anubhav.rendering.renderer import Renderer
from anubhav.rewards.covariates import covariates
from anubhav.rewards.votes import View
from anubhav.store import beliefs
from anubhav.store.database import Database
from anubhav.types.arrays import Array
from anubhav.types.experience import Episode, Feedback

_TENANT = "anubhav-reading"
"""Its own turns in the engine, so that it does not queue behind a lap."""
_WAITING = 32
_IDLE = 0.3
"""Seconds without a new reply before the last ones are read."""
_TOGETHER = 16
_AT_HAND = 1024

Item = tuple[Sequence[int], Sequence[int]]
log = logging.getLogger(__name__)


class Gallery:
    def __init__(self, database: Database, readers: Mapping[str, Reader], renderers: Mapping[str, Renderer]) -> None:
        self._database, self._readers, self._renderers = database, readers, renderers
        self._waiting: OrderedDict[str, Episode] = OrderedDict()
        self._at_hand: OrderedDict[str, View] = OrderedDict()
        self._worker: asyncio.Task[None] | None = None
        self._told = 0.0

    @property
    def models(self) -> frozenset[str]:
        return frozenset(self._readers)

    async def look(self, base_model: str, items: Sequence[Item]) -> list[View]:
        """Answers that are in no episode. Raises NotFound for a base model that is not served."""
        if base_model not in self._readers:
            raise NotFound(f"The base model {base_model} is not served now", hint="Start the server with it.")
        found: list[View] = []
        for start in range(0, len(items), _TOGETHER):
            part = items[start : start + _TOGETHER]
            read = await self._readers[base_model].read(part, tenant=_TENANT)
            texts = [self._renderers[base_model].decode(answer) for _, answer in part]
            found += [_view(array, text) for array, text in zip(read, texts, strict=True)]
        return found

    async def view(self, episode: Episode, choice: int) -> View | None:
        """A choice of an episode; None when it has no tokens at all."""
        if choice >= len(episode.choices):
            return None
        # All choices at once: their prompt is read once, and who judges one often judges the others.
        return await self._kept(episode, f"{episode.id}:{choice}", _choices(episode))

    async def corrected(self, episode: Episode, feedback: Feedback) -> View | None:
        """What a correction says should have been answered; what was answered is read with it, if it was not yet."""
        text = (feedback.text or "").strip()
        answer = self._renderers[episode.base_model].answer(text)
        return await self._kept(episode, feedback.id, {feedback.id: (answer, text), **_choices(episode)})

    def remember(self, episode: Episode) -> None:
        if episode.base_model in self._readers:
            self._waiting[episode.id] = episode
            self._told = time.monotonic()
            while len(self._waiting) > _WAITING:
                self._waiting.popitem(last=False)
            if self._worker is None or self._worker.done():
                self._worker = asyncio.create_task(self._read_when_idle())

    def drop(self, episodes: Sequence[str]) -> None:
        for name in episodes:
            self._waiting.pop(name, None)
        self._at_hand.clear()

    async def stop(self) -> None:
        self._waiting.clear()
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _read_when_idle(self) -> None:
        while self._waiting:
            left = self._told + _IDLE - time.monotonic()
            if left > 0:
                await asyncio.sleep(left)
                continue
            # The newest first: it is the likeliest to be judged next.
            _, episode = self._waiting.popitem()
            try:
                await self.view(episode, 0)
            except AnubhavError as problem:
                log.debug("a reply was not read ahead: %s", problem)

    async def _kept(
        self, episode: Episode, name: str, answers: Mapping[str, tuple[tuple[int, ...], str]]
    ) -> View | None:
        """`answers`: name → (tokens, text), with whatever is to be read together."""
        base = episode.base_model
        if view := self._at_hand.get(f"{base}\n{name}"):
            return view
        readable = [one for one in answers if episode.prompt_tokens or answers[one][0]]
        rows = await self._database.run(lambda c: beliefs.readings(c, base, readable))
        if missing := [one for one in readable if one not in rows]:
            items = [(episode.prompt_tokens, answers[one][0]) for one in missing]
            read = await self._readers[base].read(items, tenant=_TENANT)
            fresh = {one: (episode.id, array.data) for one, array in zip(missing, read, strict=True)}
            await self._database.run(lambda c: beliefs.add_readings(c, base, fresh, time.time()))
            rows |= {one: body for one, (_, body) in fresh.items()}
        for one, body in rows.items():
            view = _view(Array("float32", (len(body) // 4,), body), answers[one][1])
            self._at_hand[f"{base}\n{one}"] = view
        while len(self._at_hand) > _AT_HAND:
            self._at_hand.popitem(last=False)
        return self._at_hand.get(f"{base}\n{name}")


def _choices(episode: Episode) -> dict[str, tuple[tuple[int, ...], str]]:
    return {f"{episode.id}:{place}": (one.tokens, one.text) for place, one in enumerate(episode.choices)}


def _view(array: Array, text: str) -> View:
    return View(tuple(float(value) for value in array.tolist()), covariates(text))
