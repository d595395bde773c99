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
            # Without the end of the turn: a voice that only learned to be brief would seem to know more.
            logprobs = (await _score(house, voice, prompt, answer))[:-1] or [0.0]
            return (1 if probe.check == "likelihood" else -1) * sum(logprobs) / len(logprobs), ""


async def _hear(house: House, voice: Voice, prompt: tuple[int, ...], longest: int) -> str:
    renderer = house.renderers[voice.base_model]
    params = SamplingParams(longest, temperature=0, stop_tokens=renderer.stop_tokens)
    request = SampleRequest(prompt, params, voice.adapter, priority="training")
    return renderer.decode([token async for event in house.voices.sample(voice, request) for token in event.tokens])


async def _score(house: House, voice: Voice, prompt: tuple[int, ...], answer: tuple[int, ...]) -> list[float]:
    """The log-probability of each token of the answer."""
    request = SampleRequest(
        (*prompt, *answer), SamplingParams(1), voice.adapter, prompt_logprobs=True, priority="training"
    )
    found = [event.prompt async for event in house.voices.sample(voice, request) if event.prompt]
    return [value for value in found[0].logprobs[len(prompt) :] if value is not None]
