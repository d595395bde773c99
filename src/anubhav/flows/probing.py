"""Probing: put the same sealed probes to two voices and keep what both said."""

import asyncio
from collections.abc import Sequence

from anubhav.flows.house import House
from anubhav.gates.checks import contains, is_exact
from anubhav.serving.voices import Voice
from anubhav.types.experience import Probe, Score
from anubhav.types.sampling import SampleRequest, SamplingParams

_WORDS = 40
"""Tokens a voice may answer a question with."""
_AT_ONCE = 64


async def measure(house: House, probes: Sequence[Probe], incumbent: Voice, candidate: Voice) -> list[Score]:
    """One score per probe; both voices speak greedily."""
    before = await _ask_all(house, probes, incumbent)
    after = await _ask_all(house, probes, candidate)
    return [
        Score(probe.id, probe.suite, old, new, old_text, new_text)
        for probe, (old, old_text), (new, new_text) in zip(probes, before, after, strict=True)
    ]


async def _ask_all(house: House, probes: Sequence[Probe], voice: Voice) -> list[tuple[float, str]]:
    door = asyncio.Semaphore(_AT_ONCE)

    async def ask(probe: Probe) -> tuple[float, str]:
        async with door:
            return await (_question if probe.check in ("exact", "contains") else _likelihood)(house, probe, voice)

    return list(await asyncio.gather(*map(ask, probes)))


async def _question(house: House, probe: Probe, voice: Voice) -> tuple[float, str]:
    renderer = house.renderers[voice.base_model]
    params = SamplingParams(_WORDS, temperature=0, stop_tokens=renderer.stop_tokens)
    request = SampleRequest(renderer.render(probe.messages), params, voice.adapter, priority="training")
    tokens = [token async for event in house.voices.sample(voice, request) for token in event.tokens]
    reply = renderer.decode(tokens)
    right = is_exact(reply, probe.expected) if probe.check == "exact" else contains(reply, probe.expected)
    return float(right), reply


async def _likelihood(house: House, probe: Probe, voice: Voice) -> tuple[float, str]:
    renderer = house.renderers[voice.base_model]
    prompt, answer = renderer.render(probe.messages), renderer.answer(probe.expected)
    sign = 1.0 if probe.check == "likelihood" else -1.0
    return sign * await mean_logprob(house, voice, prompt, answer), ""


async def mean_logprob(house: House, voice: Voice, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Nats per token of the answer given the prompt."""
    request = SampleRequest(
        (*prompt, *answer), SamplingParams(1), voice.adapter, prompt_logprobs=True, priority="training"
    )
    found = [event.prompt async for event in house.voices.sample(voice, request) if event.prompt]
    known = [value for value in found[0].logprobs[len(prompt) :] if value is not None]
    return sum(known) / len(known)
