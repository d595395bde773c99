"""Lessons: what a candidate is taught, each kind of feedback by its own algorithm, through the desk like anybody.

A lap is a sequence of batches, numbered from 0 over all its parts: imitation, preferences, likings, rewards. Each is a
backward pass and a step. What the batches are held against is the incumbent, so a lap can go on at any of them.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from anubhav.catalog.sizes import size_of
from anubhav.flows.anchoring import Anchors
from anubhav.flows.house import House
from anubhav.flows.rollouts import roll_out
from anubhav.learning import imitation, kto, policy, preference
from anubhav.learning.anchors import Anchor, hold, parts_of, take, take_part
from anubhav.learning.origins import Origin
from anubhav.learning.plan import Example, Plan
from anubhav.learning.policy import LOSS_OF, Rated
from anubhav.learning.presets import PRESET, Preset, preset_for
from anubhav.serving.voices import Voice
from anubhav.training.client import RunClient
from anubhav.types.arrays import Array
from anubhav.types.experience import Lap
from anubhav.types.people import Use
from anubhav.types.training import Datum, OptimParams, PassResult

_TENANT = "anubhav"
_SCORED = 128
"""Answers in one forward pass."""

Answer = tuple[tuple[int, ...], tuple[int, ...]]
"""(prompt, answer)"""
Trained = Callable[[int], Awaitable[None]]
"""Awaited after each batch with the number of the next one: here a lap may be saved, or rest."""


async def _go_on(_next: int) -> None:
    """Without a rest."""


@dataclass(frozen=True, slots=True)
class Pace:
    start: int = 0
    """The batch to go on at; the run then holds what the batches before it made, its optimizer included."""
    trained: Trained = _go_on


_STRAIGHT = Pace()


def recipe(house: House, incumbent: Voice) -> Preset:
    """The recipe for the size of the incumbent's base model."""
    size = size_of(house.models[incumbent.base_model].folder)
    return preset_for(size.parameters, size.hidden, size.family) if size.hidden else PRESET


async def teach(
    house: House,
    lap: Lap,
    run: RunClient,
    incumbent: Voice,
    plan: Plan,
    preset: Preset,
    pace: Pace = _STRAIGHT,
) -> None:
    """Corrections, then preferences, likings and rewards; what the lap has nothing of is left out."""
    started = time.monotonic()
    kinds = ("corrections", "replayed", "pairs", "likings", "rated")
    facts: dict[str, object] = {kind: len(getattr(plan, kind)) for kind in kinds}
    await house.laps.tell(lap, "reading", **facts, left_out=plan.left, staleness=plan.staleness)
    rollouts, said = await roll_out(house, lap, incumbent, plan.prompts, preset.rollouts)
    rated = (*plan.rated, *rollouts)
    signal = policy.informative(rated, await house.baselines.expect(lap.alias))
    counted = {"informative": len(signal), "without_signal": len(rated) - len(signal)} if rated else {}
    await house.laps.tell(lap, "remembering", rollouts=said, **counted)
    lesson = _Lesson(house, lap, run, preset, pace, Anchors(house, incumbent, preset))
    known = await _remember(lesson, incumbent, plan, [one for one, _ in signal])
    await _compare(lesson, [one for one, _ in signal], known)
    await _teach_each(lesson, plan, signal, known)
    if not signal and not plan.corrections:
        answers = [*preference.answers(plan.pairs), *kto.answers(plan.likings)]
        away = known.drift(await _score(run, answers))
        await house.laps.tell(lap, "measuring", kl=round(away, 4))
    await house.laps.tell(lap, "measuring")
    away = await _drift(run, await lesson.anchors.apart())
    seconds = round(time.monotonic() - started, 1)
    told = {"kl_general": round(away, 4), "training_seconds": seconds, "batches": lesson.number}
    await house.laps.tell(lap, "taught", **told)


async def _teach_each(lesson: "_Lesson", plan: Plan, signal: Sequence[tuple[Rated, float]], known: "_Known") -> None:
    if plan.corrections:
        await lesson.begin("imitating")
        await _imitate(lesson, plan)
    lesson.kept, lesson.anchored = plan.replayed, True
    if plan.pairs:
        await lesson.begin("preferring")
        await _prefer(lesson, plan.pairs, known)
    lesson.kept = (*plan.corrections, *plan.replayed)
    if plan.likings:
        await lesson.begin("liking")
        await _like(lesson, plan.likings, known)
    if signal:
        await lesson.begin("reinforcing")
        await _reinforce(lesson, signal, known)


@dataclass(slots=True)
class _Lesson:
    """A lap that is taught: it counts batches, passes over those that were trained, and keeps what they used."""

    house: House
    lap: Lap
    run: RunClient
    preset: Preset
    pace: Pace
    anchors: Anchors
    number: int = 0
    """Of the next batch."""
    used: set[Origin] = field(default_factory=set[Origin])
    kept: Sequence[Example] = ()
    """Repairs that the batches which do not teach them leave as they are."""
    anchored: bool = False
    """Batches have anchors beside what they teach; those of imitation have their own."""

    @property
    def due(self) -> bool:
        return self.number >= self.pace.start

    def skip(self, batches: int = 1) -> None:
        self.number += batches

    async def train(
        self,
        origins: Iterable[Origin],
        data: Sequence[Datum],
        loss: str,
        params: OptimParams,
        config: Mapping[str, float] | None = None,
    ) -> PassResult:
        """One batch, and on to the next."""
        result = await self.learn(origins, data, loss, params, config)
        await self.move(self.number + 1)
        return result

    async def learn(
        self,
        origins: Iterable[Origin],
        data: Sequence[Datum],
        loss: str,
        params: OptimParams,
        config: Mapping[str, float] | None = None,
    ) -> PassResult:
        """One batch. What it uses is written before it is learned: each origin with the first batch that had it."""
        preset = self.preset
        kept = take(self.kept, self.number, preset.replayed)
        every = dict.fromkeys([*origins, *(origin for one in kept for origin in one.origins)])
        fresh = [one for one in every if one not in self.used]
        await self.house.lineage.used(self.lap.id, [Use(*one, self.number) for one in fresh])
        self.used.update(fresh)
        share = preset.kept_weight / max(1, len(kept))
        held = [imitation.imitate(one.prompt, one.answer, one.weight * share) for one in kept]
        if self.anchored and preset.held:
            held += [hold(one, preset.held_weight / preset.held) for one in await self.anchors.beside(self.number)]
        # In one pass where they can be: what begins alike is then computed once.
        together = loss == "cross_entropy"
        if held and not together:
            await self.run.forward_backward(held, "cross_entropy")
        result = await self.run.forward_backward([*data, *held] if together else data, loss, config)
        await self.run.optim_step(params)
        return result

    async def move(self, number: int) -> None:
        """The batches before this number are done with."""
        self.number = number
        await self.pace.trained(number)

    async def begin(self, phase: str) -> None:
        await self.house.laps.tell(self.lap, phase)

    async def tell(self, phase: str, step: int, steps: int, **facts: object) -> None:
        await self.house.laps.tell(self.lap, phase, step=step + 1, steps=steps, **facts)


@dataclass(frozen=True, slots=True)
class _Known:
    """The incumbent's log-probabilities of all answers the lap has to do with."""

    arrays: Mapping[Answer, Array]

    def sums(self, answers: Iterable[Answer]) -> list[float]:
        return [preference.answer_logprob(self.arrays[one].tolist(), one[1]) for one in answers]

    def drift(self, now: Mapping[Answer, Array]) -> float:
        """KL(incumbent ‖ candidate), nats per token of the answers."""
        start = {one: len(one[0]) - 1 for one in now}
        return policy.drift([(now[one].tolist()[at:], self.arrays[one].tolist()[at:]) for one, at in start.items()])


async def _remember(lesson: _Lesson, incumbent: Voice, plan: Plan, rated: Sequence[Rated]) -> _Known:
    """By the candidate before its first step, which is the incumbent, or else by a run opened from the incumbent."""
    wanted = [*preference.answers(plan.pairs), *kto.answers(plan.likings), *kto.mismatched(plan.likings)]
    wanted = list(dict.fromkeys([*wanted, *((one.prompt, one.answer) for one in rated)]))
    if lesson.pace.start == 0 or not wanted:
        return _Known(await _score(lesson.run, wanted))
    origin = incumbent.path or lesson.preset.spec
    again = await RunClient.start(lesson.house.desk, _TENANT, incumbent.base_model, origin, tag=lesson.lap.id)
    try:
        return _Known(await _score(again, wanted))
    finally:
        await again.end()


async def _compare(lesson: _Lesson, asked: Sequence[Rated], known: _Known) -> None:
    """Rest where sampler and trainer disagree about the incumbent: rewards would push another policy than spoke."""
    laps, lap, preset = lesson.house.laps, lesson.lap, lesson.preset
    arrays = [known.arrays[one.prompt, one.answer] for one in asked]
    apart = policy.mismatch(asked, arrays)
    if apart is None:
        return
    await laps.tell(lap, "remembering", kl_sampler=round(apart, 6))
    if apart > preset.mismatch:
        await laps.pause(
            lap.id,
            f"Sampler and trainer are {apart:.2g} nats a token apart on {lap.alias}'s own answers, and "
            f"{preset.mismatch:g} is the most at which rewards can be trusted. Look whether both have the same "
            "weights, precision and experts (docs/precision.md), then resume or cancel this lap.",
        )
        await laps.breathe(lap)


async def _score(run: RunClient, answers: Iterable[Answer]) -> dict[Answer, Array]:
    found, waiting = dict[Answer, Array](), list(dict.fromkeys(answers))
    for first in range(0, len(waiting), _SCORED):
        part = waiting[first : first + _SCORED]
        result = await run.forward([preference.weighted(prompt, answer, 0.0) for prompt, answer in part])
        found |= zip(part, result.logprobs, strict=True)
    return found


async def _imitate(lesson: _Lesson, plan: Plan) -> None:
    recipe, preset = lesson.preset.imitation, lesson.preset
    if lesson.pace.start >= recipe.steps:
        lesson.skip(recipe.steps)
        return
    for step in range(recipe.steps):
        if not lesson.due:
            lesson.skip()
            continue
        examples = [*plan.corrections, *take(plan.replayed, step, preset.replayed)]
        held = await lesson.anchors.of(step)
        data = [imitation.imitate(one.prompt, one.answer, one.weight / len(examples)) for one in examples]
        data += [hold(anchor, preset.anchor_weight / len(held)) for anchor in held]
        origins = [origin for one in examples for origin in one.origins]
        result = await lesson.learn(origins, data, "cross_entropy", recipe.at(step))
        sure = imitation.sureness([one.answer for one in examples], result.logprobs)
        learned = step + 1 >= preset.imitated_least and sure >= preset.imitated
        # However many were needed, the next part begins at the same number.
        await lesson.move(recipe.steps if learned else lesson.number + 1)
        await lesson.tell("imitating", step, recipe.steps, sure=round(sure, 3), imitated=step + 1)
        if learned:
            break


async def _drift(run: RunClient, anchors: Sequence[Anchor]) -> float:
    """KL(incumbent ‖ candidate), nats per token of anchors that no step was held to."""
    now = await _score(run, [(one.prompt, one.said) for one in anchors])
    return policy.drift([(now[one.prompt, one.said].tolist()[len(one.prompt) - 1 :], one.logprobs) for one in anchors])


async def _prefer(lesson: _Lesson, pairs: Sequence[preference.Pair], known: _Known) -> None:
    preset = lesson.preset
    compared = any(origin.role == "preferred" for pair in pairs for origin in pair.origins)
    recipe = preset.comparisons if compared else preset.preference
    parts = parts_of(pairs, preset.judged_parts if compared else 1, preset.judged_least)
    steps = min(recipe.steps, preset.judged_epochs * parts) if compared else recipe.steps
    end, quiet = lesson.number + steps, 0
    settled: set[preference.Pair] = set()
    for step in range(steps):
        if not lesson.due:
            lesson.skip()
            continue
        part = take_part(pairs, step, parts, preset.judged_least)
        # What is settled has nearly no gradient and costs as much as the rest, so it is not even looked at again.
        open_ones = [pair for pair in part if pair not in settled]
        answers = preference.answers(open_ones)
        now = _Known(await _score(lesson.run, answers)).sums(answers)
        found = dict(zip(open_ones, preference.strengths(now, known.sums(answers), preset.beta), strict=True))
        await lesson.tell("preferring", step, steps, strength=round(sum(found.values()) / len(part), 4))
        settled.update(pair for pair, force in found.items() if force < preset.settled)
        strength = [0.0 if pair in settled else found[pair] for pair in part]
        quiet = 0 if any(strength) else quiet + 1
        if quiet >= parts:
            break
        if quiet:
            lesson.skip()
            continue
        origins = [origin for pair in part for origin in pair.origins]
        await lesson.train(origins, preference.weigh(part, strength), "cross_entropy", recipe.at(step))
    # However many were needed, the next part begins at the same number.
    lesson.number = end


async def _like(lesson: _Lesson, likings: Sequence[kto.Liking], known: _Known) -> None:
    preset, recipe = lesson.preset, lesson.preset.likings
    shares, others = kto.shares(likings), kto.mismatched(likings)
    weighed = [replace(one, weight=share) for one, share in zip(likings, shares, strict=True)]
    parts = parts_of(likings, preset.judged_parts, preset.judged_least)
    steps = min(recipe.steps, preset.judged_epochs * parts)
    for step in range(steps):
        if not lesson.due:
            lesson.skip()
            continue
        part = take_part(weighed, step, preset.judged_parts, preset.judged_least)
        answers, apart = kto.answers(part), take_part(others, step, preset.judged_parts, preset.judged_least)
        now = _Known(await _score(lesson.run, [*answers, *apart]))
        z = kto.baseline(now.sums(apart), known.sums(apart))
        force = kto.forces(part, now.sums(answers), known.sums(answers), z, preset.beta)
        await lesson.tell("liking", step, steps, kto_kl=round(z, 4))
        origins = [origin for one in part for origin in one.origins]
        await lesson.train(origins, kto.weigh(part, force), "cross_entropy", recipe.at(step))


async def _reinforce(lesson: _Lesson, pairs: Sequence[tuple[Rated, float]], known: _Known) -> None:
    preset, recipe = lesson.preset, lesson.preset.policy
    minibatches = policy.deal([one for one, _ in pairs], preset.policy_parts)
    for step, places in zip(range(recipe.steps), minibatches, strict=False):
        if not lesson.due:
            lesson.skip()
            continue
        batch = [pairs[place] for place in places]
        asked = [one for one, _ in batch]
        before = [known.arrays[one.prompt, one.answer] for one in asked]
        data = policy.reinforce(batch, before, preset.cap, await _penalties(lesson, asked, before))
        config = {"kl_coeff": preset.kl_penalty} if preset.objective == "stable_reinforce" else None
        origins = [origin for one in asked for origin in one.origins]
        result = await lesson.train(origins, data, LOSS_OF[preset.objective], recipe.at(step), config)
        away = policy.divergence(asked, result.logprobs, before)
        loss = round(result.metrics["loss:sum"], 4)
        await lesson.tell("reinforcing", step, recipe.steps, loss=loss, kl=round(away, 4))
        if away > preset.kl_budget:
            await lesson.house.laps.tell(lesson.lap, "reinforcing", kl_spent=True)
            return


async def _penalties(lesson: _Lesson, asked: Sequence[Rated], before: Sequence[Array]) -> list[list[float]]:
    """None where the recipe has none, or where the loss has its own."""
    if not lesson.preset.kl_penalty or lesson.preset.objective == "stable_reinforce":
        return []
    now = await _score(lesson.run, [(one.prompt, one.answer) for one in asked])
    arrays = [now[one.prompt, one.answer] for one in asked]
    return policy.penalties(asked, arrays, before, lesson.preset.kl_penalty)
