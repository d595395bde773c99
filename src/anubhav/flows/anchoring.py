"""Anchoring: what the incumbent says to general prompts, drawn as the batches of a lap come to need it."""

import asyncio
from collections.abc import Iterable

from anubhav.flows.house import House
from anubhav.learning.anchors import Anchor, anchor_prompts
from anubhav.learning.presets import Preset
from anubhav.serving.voices import Voice
from anubhav.types.chat import Message
from anubhav.types.sampling import SampleRequest, SamplingParams

_AT_ONCE = 16
"""Anchors that are drawn together where no more are sure to be needed: a lap that has learned draws few in vain."""
_MEASURED = range(1_000_000, 1_000_012)
"""Anchors that only tell how far a candidate went: no step comes to these numbers."""


class Anchors:
    """Each has a number, which is its seed, and each step has numbers of its own: none is used twice, as what a sample
    has outside the likeliest tokens is an accident, and twice is learned by heart."""

    def __init__(self, house: House, incumbent: Voice, preset: Preset) -> None:
        self._house, self._incumbent, self._preset = house, incumbent, preset
        self._drawn: dict[int, Anchor] = {}

    async def of(self, step: int) -> list[Anchor]:
        """Those of this imitation step, drawn with those of the steps that are sure to come, or with a few more."""
        preset = self._preset
        first, end = step * preset.anchors, preset.imitation.steps * preset.anchors
        sure = preset.imitated_least * preset.anchors
        return await self._take(first, preset.anchors, min(max(sure, first + _AT_ONCE), end))

    async def beside(self, batch: int) -> list[Anchor]:
        """Those of a batch that teaches something else, drawn with those of the next few."""
        preset = self._preset
        first = preset.imitation.steps * preset.anchors + batch * preset.held
        return await self._take(first, preset.held, first + _AT_ONCE // preset.held * preset.held)

    async def _take(self, first: int, count: int, end: int) -> list[Anchor]:
        """So many from this number on. What is not there yet is drawn with all the others before `end`."""
        if count and first + count - 1 not in self._drawn:
            numbers = range(first, max(end, first + count))
            self._drawn = dict(zip(numbers, await self._draw(numbers), strict=True))
        return [self._drawn[number] for number in range(first, first + count)]

    async def apart(self) -> list[Anchor]:
        """Those that no batch is held to."""
        return await self._draw(_MEASURED)

    async def _draw(self, numbers: Iterable[int]) -> list[Anchor]:
        return list(await asyncio.gather(*map(self._say, numbers)))

    async def _say(self, number: int) -> Anchor:
        """At temperature 1, to the general prompts in turn."""
        incumbent, preset, prompts = self._incumbent, self._preset, anchor_prompts()
        renderer = self._house.renderers[incumbent.base_model]
        prompt = renderer.render([Message("user", prompts[number % len(prompts)])])
        params = SamplingParams(preset.anchor_tokens, seed=number, stop_tokens=renderer.stop_tokens)
        request = SampleRequest(
            prompt, params, incumbent.adapter, top_logprobs=preset.anchor_width, priority="training"
        )
        events = [event async for event in self._house.voices.sample(incumbent, request)]
        said = tuple(token for event in events for token in event.tokens)
        logprobs = tuple(value for event in events for value in event.logprobs)
        return Anchor(prompt, said, tuple(likely for event in events for likely in event.top), logprobs)
