"""What feedback teaches about memory: which chunks a right answer draws on, and from that a better policy.

A correction, or a reply somebody liked, that had a memory in its prompt says which chunks were needed, dropped ones
too. `learn` teaches a candidate two thirds of the judged replies and puts it to the test on the rest; `learn_due` does
so of its own accord, when there is enough that is new.
"""

import asyncio
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.errors import AnubhavError, BadInput
from anubhav.flows.hearing import count_of
from anubhav.flows.house import House
from anubhav.gates.paired import gained
from anubhav.memory.labels import label
from anubhav.memory.learn import Example, answerable, fit, imagine, reinforce
from anubhav.memory.scoring import worth
from anubhav.types.experience import Episode, Feedback
from anubhav.types.ids import new_id
from anubhav.types.memory import MemoryPolicy
from anubhav.types.remembering import LedgerFilter, PolicyChange

_LIKED = 0.75
_LINES = 500
"""Of the ledger, the newest, in which what was dropped is looked for."""
_LEAST = 8
"""Judged replies, on either side, before anything is learned."""
_RIPE = 48
"""Judged replies since it was last tried, with which it is tried again of its own accord."""
_LEVEL = 0.05
_VISITS, _ROUNDS = 3000, 10
"""Scenes that reinforcement goes through in all, and the rounds over them that are enough."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Learned:
    change: PolicyChange
    replies: int
    held_out: int
    before: float
    """Share of other chunks that a needed one outranks, mean over the replies held out."""
    after: float
    p: float
    """Of: it does not rank better."""


async def take_note(house: House, feedback: Feedback, episode: Episode) -> None:
    """Keep what a judgement says about the memory its reply saw. Never raises: the judgement itself is kept."""
    right = _right(feedback, episode)
    if episode.memory is None or not episode.trainable or not right:
        return
    try:
        examples = await _label(house, episode, episode.memory.partition("@")[0], right)
        if examples:
            await house.memory_policies.label(feedback.tenant, feedback.id, episode.id, examples)
    except AnubhavError as problem:
        log.info("%s taught nothing about memory: %s", feedback.id, problem)


async def learn(house: House, tenant: str, who: str) -> Learned:
    """A candidate decides from now on if it ranks better, else not. Raises BadInput with too little to learn from."""
    with house.memory_policies.learning(tenant):
        groups = await house.memory_policies.labels(tenant)
        exam = [examples for episode, examples in groups if zlib.crc32(episode.encode()) % 3 == 0]
        lessons = [examples for episode, examples in groups if zlib.crc32(episode.encode()) % 3]
        if min(len(exam), len(lessons)) < _LEAST:
            raise BadInput(
                f"{len(groups)} judged replies had a memory that their right answers draw on, which is too few",
                hint=f"Correct or like some {3 * _LEAST} or more such replies.",
            )
        incumbent = await house.memory_policies.of(tenant)
        candidate = await asyncio.to_thread(_teach, lessons, incumbent, new_id("mp"))
        before, after = ([_ranks(policy, examples) for examples in exam] for policy in (incumbent, candidate))
        p = gained([new - old for old, new in zip(before, after, strict=True)])
        found = "ranks better" if p < _LEVEL else "not proved better"
        figures = f"{_mean(before):.3f} to {_mean(after):.3f} on {len(exam)} replies held out, p = {p:.3f}"
        settle = house.memory_policies.activate if p < _LEVEL else house.memory_policies.discard
        change = await settle(tenant, candidate, who, f"{found}: {figures}")
    return Learned(change, len(lessons), len(exam), _mean(before), _mean(after), p)


async def learn_due(house: House) -> None:
    """For every tenant with enough that is new."""
    for tenant in await house.memory_policies.ripe(_RIPE):
        try:
            learned = await learn(house, tenant, "anubhav")
            log.info("the memory policy of %s: %s", tenant, learned.change.why)
        except AnubhavError as problem:
            log.info("nothing was learned for the memories of %s: %s", tenant, problem)


def _teach(lessons: Sequence[Sequence[Example]], start: MemoryPolicy, name: str) -> MemoryPolicy:
    """By regression on what was needed, and from there by reinforcement if that keeps more of it in half the room."""
    fitted = fit([example for examples in lessons for example in examples], start, name)
    scenes = [scene for examples in lessons if (scene := imagine(examples))]
    if not scenes:
        return fitted
    rounds = min(_ROUNDS, max(1, _VISITS // len(scenes)))
    found = (fitted, reinforce(scenes, fitted, name, rounds=rounds))
    return max(found, key=lambda policy: _mean([answerable(scene, policy) for scene in scenes]))


async def _label(house: House, episode: Episode, memory: str, right: str) -> tuple[Example, ...]:
    shelved = await house.memories.get(episode.tenant, memory)
    lines = await house.memories.ledger(memory, LedgerFilter(), None, _LINES)
    spoken = " ".join(" ".join(message.content.split()) for message in episode.messages if message.role != "system")
    seen = [one for one in shelved.memory.chunks if one.at < episode.created_at and one.text not in spoken]
    told = [line.decision for line in lines if line.created_at <= episode.created_at]
    dropped = [one for one in told if one.before not in spoken]
    asked = next((message.content for message in reversed(episode.messages) if message.role == "user"), "")
    base_model = shelved.base_model if shelved.base_model in house.models else next(iter(house.models))
    return label(seen, dropped, asked, right, shelved.memory.turns, count_of(house, base_model))


def _right(feedback: Feedback, episode: Episode) -> str:
    if feedback.kind == "correction":
        return feedback.text or ""
    liked = feedback.kind in ("thumb", "rating") and (feedback.value or 0.0) >= _LIKED
    return episode.choices[feedback.choice].text if liked else ""


def _ranks(policy: MemoryPolicy, examples: Sequence[Example]) -> float:
    """The chance that a needed chunk has a higher score than another one; one half where there is nothing to tell."""
    needed = [worth(one.features, policy) for one in examples if one.needed]
    others = [worth(one.features, policy) for one in examples if not one.needed]
    pairs = [(high > low) + 0.5 * (high == low) for high in needed for low in others]
    return sum(pairs) / len(pairs) if pairs else 0.5


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
