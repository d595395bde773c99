"""Refilling: the model learns to write passages shorter from its own best tries, through the desk like anybody.

What memories had to shorten is shortened several times over by the refiller that is, or by the base; the best try,
words taken out being one of them, is imitated (best of n). The trained one decides from then on only if, on passages it
was not taught, what it writes is better than what was there before by more than chance; that is the old one's version,
or, where nobody wrote, words taken out. Nobody's words are taught who does not consent.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from anubhav.errors import AnubhavError, BadInput, NotFound
from anubhav.flows.hearing import count_of
from anubhav.flows.house import House
from anubhav.flows.lessons import recipe
from anubhav.flows.writing import HOUSE, filler_of, write
from anubhav.gates.paired import gained
from anubhav.learning.imitation import imitate
from anubhav.learning.presets import Preset
from anubhav.memory.filler import ask
from anubhav.memory.writing import Passage, find_passages, judge
from anubhav.serving.voices import Voice
from anubhav.training.client import RunClient
from anubhav.types.ids import new_id
from anubhav.types.remembering import LedgerFilter, PolicyChange
from anubhav.types.sampling import SamplingParams

_TRIES = 8
_BATCH = 8
_LEAST = 24
"""Passages, of which about every fourth is kept for the exam …"""
_EXAMINED = 4
"""… and so many at least."""
_MOST = 256
_LINES = 500
"""Of a ledger, the newest."""
_CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class Taught:
    change: PolicyChange
    passages: int
    held_out: int
    accepted: tuple[float, float]
    """Share of the passages held out whose written version stands, before and after."""
    gain: tuple[float, float]
    """What they explain beyond words taken out, mean over the passages held out, before and after."""
    p: float
    """Of: no better than before."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A passage and the replies that had to do with it."""

    passage: Passage
    episodes: frozenset[str]


async def teach_refiller(house: House, tenant: str, who: str, preset: Preset | None = None) -> Taught:
    """By the recipe for the model's size unless another is given. Raises BadInput with too little to learn from."""
    with house.memory_policies.learning(tenant):
        incumbent = await _incumbent(house, tenant)
        told = await _passages(house, tenant, incumbent.base_model)
        lessons = [one for one in told if not _held_out(one)]
        exam = [one.passage for one in told if _held_out(one)]
        if len(told) < _LEAST or len(exam) < _EXAMINED:
            raise BadInput(
                f"Memories had to shorten {len(told)} passages that may be learned from, which is too few",
                hint=f"A refiller learns from {_LEAST} or some more: let conversations go on until memories are full.",
            )
        name = new_id("refiller")
        # Before it is learned, so that who is erased is found.
        origins = {episode for one in lessons for episode in one.episodes}
        await house.lineage.used(name, [(episode, 0, None, "refilled", 0) for episode in sorted(origins)])
        pairs = await _best_tries(house, tenant, incumbent, [one.passage for one in lessons])
        path = await _train(house, name, incumbent, pairs, preset or recipe(house, incumbent))
        return await _settle(house, tenant, who, (name, path), incumbent, pairs, exam)


async def _settle(
    house: House,
    tenant: str,
    who: str,
    trained: tuple[str, str],
    incumbent: Voice,
    pairs: Sequence[tuple[Passage, str]],
    exam: Sequence[Passage],
) -> Taught:
    """Decides from now on, or is discarded with its figures. `trained`: name and path."""
    name, path = trained
    nobody: list[float | None] = [None] * len(exam)
    before = await _examine(house, tenant, incumbent, exam) if incumbent.path else nobody
    after = await _examine(house, tenant, await house.voices.of_path(HOUSE, path), exam)
    p = gained([(new or 0.0) - (old or 0.0) for old, new in zip(before, after, strict=True)])
    accepted, gain = (_share(before), _share(after)), (_mean(before), _mean(after))
    figures = (
        f"{gain[0]:.3f} to {gain[1]:.3f} more told than by words taken out, {accepted[1]:.0%} of its versions stand, "
        f"on {len(exam)} passages held out, p = {p:.3f}"
    )
    policy = replace(await house.memory_policies.of(tenant), name=name, refiller=path)
    if p < _CHANCE:
        change = await house.memory_policies.activate(tenant, policy, who, f"writes better: {figures}")
    else:
        change = await house.memory_policies.discard(tenant, policy, who, f"not proved better: {figures}")
        await house.desk.checkpoints.delete(HOUSE, path)
    return Taught(change, len(pairs), len(exam), accepted, gain, p)


async def _incumbent(house: House, tenant: str) -> Voice:
    """Who writes now for the model of the memory that changed last: the tenant's refiller, or the base."""
    served = [one.base_model for one in await house.memories.list_of(tenant) if one.base_model in house.models]
    base_model = served[0] if served else next(iter(house.models))
    path = (await house.memory_policies.of(tenant)).refiller
    try:
        voice = await house.voices.of_path(HOUSE, path) if path else None
    except AnubhavError:  # its checkpoint is gone: the base begins again
        voice = None
    same = voice and house.renderers[voice.base_model] is house.renderers[base_model]
    return voice if voice and same else Voice(base_model, base_model)


async def _passages(house: House, tenant: str, base_model: str) -> list[_Told]:
    """What memories had to shorten, the newest of them, without what may not be learned from."""
    count = count_of(house, base_model)
    found: dict[str, tuple[str, Passage]] = {}
    for shelved in await house.memories.list_of(tenant):
        lines = [line.decision for line in await house.memories.ledger(shelved.id, LedgerFilter(), limit=_LINES)]
        passages = await asyncio.to_thread(find_passages, lines, count)
        found |= {one.text: (shelved.id, one) for one in passages}
        if len(found) >= _MOST:
            break
    told = [await _trace(house, memory, one) for memory, one in list(found.values())[:_MOST]]
    barred = await _barred(house, tenant, {name for one in told for name in one.episodes})
    return [one for one in told if not one.episodes & barred]


def _held_out(told: _Told) -> bool:
    """For the exam, now and whenever it is looked at again."""
    return hashlib.sha256(told.passage.text.encode()).digest()[0] % 4 == 0


async def _trace(house: House, memory: str, passage: Passage) -> _Told:
    lines = await house.memories.ledger(memory, LedgerFilter(chunk=passage.chunk), limit=_LINES)
    return _Told(passage, frozenset(line.episode for line in lines if line.episode))


async def _barred(house: House, tenant: str, episodes: Iterable[str]) -> set[str]:
    """Of these replies, those that are gone, or whose people do not let us learn from them now."""
    barred: set[str] = set()
    consents: dict[str, bool] = {}
    for name in sorted(episodes):
        try:
            episode = await house.recorder.find(tenant, name)
        except NotFound:
            barred.add(name)
            continue
        user = episode.user or ""
        if user not in consents:
            consents[user] = bool((await house.people.look(tenant, user))["train"])
        if not (episode.trainable and consents[user]):
            barred.add(name)
    return barred


async def _best_tries(
    house: House, tenant: str, incumbent: Voice, lessons: Sequence[Passage]
) -> list[tuple[Passage, str]]:
    tries = await asyncio.gather(*(_try(house, tenant, incumbent, one) for one in lessons))
    return [
        (one, await _best(house, tenant, incumbent.base_model, one, tried))
        for one, tried in zip(lessons, tries, strict=True)
    ]


async def _try(house: House, tenant: str, voice: Voice, passage: Passage) -> list[str]:
    renderer = house.renderers[voice.base_model]
    prompt, seed = ask(renderer, "", passage.text, ""), zlib.crc32(passage.text.encode())
    params = SamplingParams(passage.budget, 0.8, seed=seed, stop_tokens=renderer.stop_tokens)
    return await write(house, tenant, voice, prompt, params, tries=_TRIES, priority="rollout")


async def _best(house: House, tenant: str, base_model: str, passage: Passage, tried: Sequence[str]) -> str:
    """Words taken out always stand."""
    versions = list(dict.fromkeys([passage.plain, *(" ".join(text.split()) for text in tried)]))
    marks = await _judge(house, tenant, base_model, passage, versions)
    return max((mark, text) for mark, text in zip(marks, versions, strict=True) if mark is not None)[1]


async def _judge(
    house: House, tenant: str, base_model: str, passage: Passage, versions: Sequence[str]
) -> list[float | None]:
    reader, renderer = house.readers[base_model], house.renderers[base_model]
    return await judge(reader, renderer, passage, versions, count_of(house, base_model), tenant=tenant)


async def _examine(house: House, tenant: str, voice: Voice, exam: Sequence[Passage]) -> list[float | None]:
    """Per passage, how much better what this voice writes is than words taken out; None: it may not stand."""
    fill = filler_of(house, tenant, voice, "rollout")
    written = await asyncio.gather(*(fill("", one.text, "", one.budget) for one in exam))
    marks = [
        await _judge(house, tenant, voice.base_model, one, [one.plain, version])
        for one, version in zip(exam, written, strict=True)
    ]
    return [None if version is None or plain is None else version - plain for plain, version in marks]


async def _train(
    house: House, name: str, incumbent: Voice, pairs: Sequence[tuple[Passage, str]], preset: Preset
) -> str:
    """The path of what was taught these versions."""
    renderer = house.renderers[incumbent.base_model]
    data = [(ask(renderer, "", one.text, ""), renderer.answer(text)) for one, text in pairs]
    run = await RunClient.start(house.desk, HOUSE, incumbent.base_model, incumbent.path or preset.spec, tag=name)
    try:
        for step in range(preset.imitation.steps):
            part = [data[(step * _BATCH + i) % len(data)] for i in range(min(_BATCH, len(data)))]
            await run.forward_backward([imitate(*one, 1 / len(part)) for one in part], "cross_entropy")
            await run.optim_step(preset.imitation.at(step))
        return str((await run.save(name, "weights")).path)
    finally:
        await run.end()


def _share(marks: Sequence[float | None]) -> float:
    return sum(mark is not None for mark in marks) / len(marks)


def _mean(marks: Sequence[float | None]) -> float:
    return sum(mark or 0.0 for mark in marks) / len(marks)
