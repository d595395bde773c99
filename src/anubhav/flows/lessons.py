"""Lessons: what a candidate is taught, each kind of feedback by its own algorithm, through the desk like anybody."""

import asyncio
import time
from collections.abc import Sequence

from anubhav.flows.house import House
from anubhav.learning import imitation, policy, preference
from anubhav.learning.anchors import Anchor, anchor_prompts, hold, take
from anubhav.learning.plan import Plan
from anubhav.learning.presets import Preset
from anubhav.serving.voices import Voice
from anubhav.training.client import RunClient
from anubhav.types.chat import Message
from anubhav.types.experience import Lap
from anubhav.types.sampling import SampleRequest, SamplingParams


async def teach(house: House, lap: Lap, run: RunClient, incumbent: Voice, plan: Plan, preset: Preset) -> None:
    """Corrections, then preferences, then rewards; what the lap has nothing of is left out."""
    started = time.monotonic()
    facts = {"corrections": len(plan.corrections), "pairs": len(plan.pairs), "rated": len(plan.rated)}
    await house.laps.tell(lap, "reading", **facts)
    reference = await _score_pairs(run, plan.pairs) if plan.pairs else []
    if plan.corrections:
        await _imitate(house, lap, run, incumbent, plan, preset)
    if plan.pairs:
        await _prefer(house, lap, run, plan.pairs, reference, preset)
    if plan.rated:
        await _reinforce(house, lap, run, plan, preset)
    await house.laps.tell(lap, "taught", training_seconds=round(time.monotonic() - started, 1))


async def _imitate(house: House, lap: Lap, run: RunClient, incumbent: Voice, plan: Plan, preset: Preset) -> None:
    await house.laps.tell(lap, "anchoring")
    anchors = await _anchor(house, incumbent, preset)
    for step in range(preset.imitation.steps):
        replayed = take(plan.replayed, step, preset.replayed)
        examples = [(one.prompt, one.answer) for one in (*plan.corrections, *replayed)]
        held = take(anchors, step, preset.anchors)
        data = [imitation.imitate(prompt, answer, 1.0 / len(examples)) for prompt, answer in examples]
        data += [hold(anchor, preset.anchor_weight / len(held)) for anchor in held]
        result = await run.forward_backward(data, "cross_entropy")
        await run.optim_step(preset.imitation.at(step))
        loss = round(result.metrics["loss:sum"], 4)
        await house.laps.tell(lap, "imitating", step=step + 1, steps=preset.imitation.steps, loss=loss)


async def _anchor(house: House, incumbent: Voice, preset: Preset) -> list[Anchor]:
    """What the incumbent says to general prompts, at temperature 1; the prompt's number is the seed."""
    renderer = house.renderers[incumbent.base_model]

    async def say(number: int, text: str) -> Anchor:
        prompt = renderer.render([Message("user", text)])
        params = SamplingParams(preset.anchor_tokens, seed=number, stop_tokens=renderer.stop_tokens)
        request = SampleRequest(
            prompt, params, incumbent.adapter, top_logprobs=preset.anchor_width, priority="training"
        )
        events = [event async for event in house.voices.sample(incumbent, request)]
        said = tuple(token for event in events for token in event.tokens)
        return Anchor(prompt, said, tuple(likely for event in events for likely in event.top))

    return list(await asyncio.gather(*(say(number, text) for number, text in enumerate(anchor_prompts()))))


async def _score_pairs(run: RunClient, pairs: Sequence[preference.Pair]) -> list[float]:
    """Log p of each pair's answers, chosen and rejected in turn."""
    result = await run.forward(preference.both(pairs))
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    return [
        preference.answer_logprob(values.tolist(), answer)
        for values, answer in zip(result.logprobs, answers, strict=True)
    ]


async def _prefer(
    house: House, lap: Lap, run: RunClient, pairs: Sequence[preference.Pair], reference: list[float], preset: Preset
) -> None:
    for step in range(preset.preference.steps):
        strength = preference.strengths(await _score_pairs(run, pairs), reference, preset.beta)
        mean = sum(strength) / len(strength)
        await house.laps.tell(lap, "preferring", step=step + 1, steps=preset.preference.steps, strength=round(mean, 4))
        if mean < preset.settled:
            return
        await run.forward_backward(preference.weigh(pairs, strength), "cross_entropy")
        await run.optim_step(preset.preference.at(step))


async def _reinforce(house: House, lap: Lap, run: RunClient, plan: Plan, preset: Preset) -> None:
    baseline = await house.baselines.expect(lap.alias)
    pairs = policy.informative(plan.rated, baseline)
    await house.laps.tell(lap, "scoring", informative=len(pairs))
    if not pairs:
        return
    behaviour = (await run.forward(policy.score([one for one, _ in pairs]))).logprobs
    minibatches = policy.deal([one for one, _ in pairs], preset.policy_parts)
    for step, places in zip(range(preset.policy.steps), minibatches, strict=False):
        data = policy.reinforce([pairs[place] for place in places], [behaviour[place] for place in places])
        result = await run.forward_backward(data, "ppo")
        await run.optim_step(preset.policy.at(step))
        loss = round(result.metrics["loss:sum"], 4)
        await house.laps.tell(lap, "reinforcing", step=step + 1, steps=preset.policy.steps, loss=loss)
