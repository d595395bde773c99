"""Rollouts: what people asked lately is answered anew by the incumbent and scored by the critic, if it can be trusted.

An answer is paid the critic's mean less a multiple of its deviation, and never more than a bound: a policy that looks
for what the critic is wrong about finds what it is unsure of (Coste et al., arXiv:2310.02743).
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence

from anubhav.flows.house import House
from anubhav.learning.origins import Origin
from anubhav.learning.plan import Prompt
from anubhav.learning.policy import Rated
from anubhav.learning.presets import Rollouts
from anubhav.serving.voices import Voice
from anubhav.types.experience import Lap
from anubhav.types.sampling import SampleRequest, SamplingParams

_TENANT = "anubhav"
_DOUBTS = ("calibration", "accuracy", "drift", "leans", "bought")
"""Alarms, or what they begin with, under which nothing new is paid for."""


async def roll_out(
    house: House, lap: Lap, incumbent: Voice, prompts: Sequence[Prompt], limits: Rollouts
) -> tuple[list[Rated], Mapping[str, object]]:
    """Whole answers, at least two to a prompt, and what the lap's report says of them."""
    why = await doubt(house, lap.alias, limits) if limits.prompts else "this recipe has none"
    if why:
        return [], {"none": why}
    asked = _fitting(prompts, house.models[incumbent.base_model].context_length, limits)
    said = await asyncio.gather(*(_answer(house, lap, incumbent, one, limits) for one in asked))
    whole = [(prompt, *answer) for prompt, answers in zip(asked, said, strict=True) for answer in answers if answer[2]]
    estimates = await house.critic.score(
        lap.alias, incumbent.base_model, [(prompt.tokens, tokens) for prompt, tokens, _, _ in whole]
    )
    paid = [min(limits.most, one.mean - limits.pessimism * one.deviation) for one in estimates]
    rated = [
        Rated(
            prompt.tokens, tokens, reward, 1.0, logprobs, fresh=True, own=True,
            origins=(Origin(prompt.episode, 0, None, "rollout"),),
        )
        for (prompt, tokens, logprobs, _), reward in zip(whole, paid, strict=True)
    ]  # fmt: skip
    several = [one for one in rated if sum(other.prompt == one.prompt for other in rated) > 1]
    count = sum(len(answers) for answers in said)
    facts: dict[str, object] = {
        "prompts": len(asked),
        "answers": count,
        "cut": count - len(whole),
        "tokens": sum(len(tokens) for answers in said for tokens, _, _ in answers),
        "reward": round(sum(one.reward for one in rated) / max(1, len(rated)), 3),
    }
    return several, facts


async def doubt(house: House, alias: str, limits: Rollouts) -> str | None:
    """Why the critic is not to be asked; None when it may be."""
    report = await house.watch.report(alias)
    known = report.figures
    for name, least, what in (
        ("events", limits.events, "judgements foretold by the critic before it heard them"),
        ("accuracy", limits.accuracy, "of judgements foretold by the critic"),
        ("reliable", limits.reliable, "judgements of held-out or trusted people that measure it"),
        ("reliable_accuracy", limits.accuracy, "of what held-out or trusted people say, foretold by the critic"),
    ):
        if known.get(name, 0.0) < least:
            return f"{known.get(name, 0.0):.3g} {what}, {least:.3g} are needed"
    if known.get("ece", 1.0) > limits.ece:
        return f"the critic's chances are off by {known.get('ece', 1.0):.2f}, {limits.ece:.2f} is the most"
    ringing = [alarm.name for alarm in report.alarms if alarm.name.partition(":")[0] in _DOUBTS]
    return f"alarms ring: {', '.join(ringing)}" if ringing else None


def _fitting(prompts: Sequence[Prompt], longest: int, limits: Rollouts) -> list[Prompt]:
    return [one for one in prompts if len(one.tokens) + limits.tokens <= longest][: limits.prompts]


async def _answer(
    house: House, lap: Lap, incumbent: Voice, prompt: Prompt, limits: Rollouts
) -> list[tuple[tuple[int, ...], tuple[float, ...], bool]]:
    """(tokens, log-probabilities, whether it came to an end) of each sample; the same ones when a lap goes on."""
    renderer = house.renderers[incumbent.base_model]
    seed = zlib.crc32(f"{lap.id} {prompt.episode}".encode())
    params = SamplingParams(limits.tokens, seed=seed, stop_tokens=renderer.stop_tokens)
    request = SampleRequest(
        prompt.tokens, params, incumbent.adapter, limits.samples, priority="rollout", tenant=_TENANT
    )
    tokens: list[list[int]] = [[] for _ in range(limits.samples)]
    logprobs: list[list[float]] = [[] for _ in range(limits.samples)]
    whole = [False] * limits.samples
    async for event in house.voices.sample(incumbent, request):
        tokens[event.index] += event.tokens
        logprobs[event.index] += event.logprobs
        whole[event.index] = whole[event.index] or event.stop_reason == "stop"
    return [
        (tuple(one), tuple(sure), end and bool(one)) for one, sure, end in zip(tokens, logprobs, whole, strict=True)
    ]
