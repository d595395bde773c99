"""Probing: put the same sealed probes to two voices and keep what both said."""

import asyncio
import math
from collections.abc import Sequence

from anubhav.flows.house import House
from anubhav.gates.checks import contains
from anubhav.serving.voices import Voice
from anubhav.types.experience import Probe, Score
from anubhav.types.sampling import SampleRequest, SamplingParams

_WORDS = 40
"""Tokens a voice may answer a question with."""
_SHORT = 24
"""Tokens of a reply that is looked for in what is said."""
_AT_ONCE = 64


async def measure(house: House, probes: Sequence[Probe], incumbent: Voice, candidate: Voice) -> list[Score]:
    """One score per probe; what both voices are heard saying is greedy."""
    before = await _ask_all(house, probes, incumbent)
    after = await _ask_all(house, probes, candidate)
    return [
        Score(probe.id, probe.suite, old, new, old_text, new_text)
        for probe, (old, old_text), (new, new_text) in zip(probes, before, after, strict=True)
    ]


async def _ask_all(house: House, probes: Sequence[Probe], voice: Voice) -> list[tuple[float, str]]:
    door = asyncio.Semaphore(_AT_ONCE)

    async def ask(probe: Probe) -> tuple[float, str]:
        asked = (voice.base_model, voice.adapter, probe)
        if known := house.heard.find(asked):
            return known
        async with door:
            answer = await _ask(house, probe, voice)
        house.heard.keep(asked, answer)
        return answer

    return list(await asyncio.gather(*map(ask, probes)))


async def _ask(house: House, probe: Probe, voice: Voice) -> tuple[float, str]:
    renderer = house.renderers[voice.base_model]
    prompt, answer = renderer.render(probe.messages), renderer.answer(probe.expected)
    match probe.check:
        case "contains":
            reply = await _hear(house, voice, prompt, _WORDS)
            return float(contains(reply, probe.expected)), reply
        case "exact":
            logprobs = await _score(house, voice, prompt, answer)
            return math.exp(sum(logprobs)), await _hear(house, voice, prompt, len(answer) + 4)
        case "likelihood" | "unlikelihood":
            mean = await _mean(house, voice, prompt, answer)
            return (mean if probe.check == "likelihood" else -mean), ""
        case "prefers":
            better = await _mean(house, voice, prompt, answer)
            worse = await _mean(house, voice, prompt, renderer.answer(probe.rejected))
            return 1 / (1 + math.exp(min(700.0, worse - better))), ""
        case "recalled":
            return await _recall(house, voice, prompt, probe.expected)


async def _recall(house: House, voice: Voice, prompt: tuple[int, ...], expected: str) -> tuple[float, str]:
    """Only a short reply that seems forgotten is worth hearing: it may be said in other words."""
    answer = house.renderers[voice.base_model].answer(expected)
    if await _mean(house, voice, prompt, answer) >= math.log(0.5):
        return 1.0, expected
    if len(answer) > _SHORT:
        return 0.0, ""
    reply = await _hear(house, voice, prompt, _WORDS)
    return float(contains(reply, expected)), reply


async def _mean(house: House, voice: Voice, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Of the answer's tokens without the end of the turn: a voice that only learned to be brief would seem to know
    more."""
    logprobs = (await _score(house, voice, prompt, answer))[:-1] or [0.0]
    return sum(logprobs) / len(logprobs)


async def hear(house: House, voice: Voice, prompt: tuple[int, ...], longest: int) -> tuple[int, ...]:
    """The greedy reply, without what ends the turn."""
    stops = house.renderers[voice.base_model].stop_tokens
    request = SampleRequest(
        prompt, SamplingParams(longest, temperature=0, stop_tokens=stops), voice.adapter, priority="training"
    )
    found = [token async for event in house.voices.sample(voice, request) for token in event.tokens]
    return tuple(token for token in found if token not in stops)


async def _hear(house: House, voice: Voice, prompt: tuple[int, ...], longest: int) -> str:
    return house.renderers[voice.base_model].decode(await hear(house, voice, prompt, longest))


async def _score(house: House, voice: Voice, prompt: tuple[int, ...], answer: tuple[int, ...]) -> list[float]:
    """The log-probability of each token of the answer."""
    request = SampleRequest(
        (*prompt, *answer),
        SamplingParams(1),
        voice.adapter,
        prompt_logprobs=True,
        prompt_last=len(answer),
        priority="training",
    )
    found = [event.prompt async for event in house.voices.sample(voice, request) if event.prompt]
    return [value for value in found[0].logprobs[len(prompt) :] if value is not None]
