"""What a life teaches a policy of memory: which lines later answers drew on, and which had to make room for others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from anubhav.memory.cut import Said
from anubhav.memory.keeper import Keeper
from anubhav.memory.labels import find_needed
from anubhav.memory.learn import Example, Scene
from anubhav.memory.scoring import score
from anubhav.types.memory import Chunk, Decision, Memory, MemoryPolicy
from benchmarks.memory.life import Life
from benchmarks.memory.message import Count

_EVERY = 40
"""Messages between two questionings."""


@dataclass
class Lessons:
    examples: list[Example] = field(default_factory=list[Example])
    scenes: list[Scene] = field(default_factory=list[Scene])


async def attend(life: Life, policy: MemoryPolicy, budget: int, count: Count) -> Lessons:
    """The life heard under this policy; now and then every fact is asked for, as of then.

    What was dropped since the last time is taught along with what is held: forgetting it may have been the mistake.
    """
    keeper, memory, lessons = Keeper(count, policy), Memory(), Lessons()
    pool: dict[str, Chunk] = {}
    for turn, message in enumerate(life.messages, 1):
        said = [Said(message.role, message.named, message.at)]
        memory, decided = await keeper.hear(memory, said, budget)
        _follow(pool, memory, decided)
        if turn % _EVERY == 0 and memory.tokens > budget / 2:
            _teach(lessons, list(pool.values()), life, turn, budget, policy)
            pool = {chunk.id: chunk for chunk in memory.chunks}
    return lessons


def _follow(pool: dict[str, Chunk], memory: Memory, decided: Iterable[Decision]) -> None:
    """Chunks as they were when they were whole; without those that were said otherwise or were to be forgotten."""
    for chunk in memory.chunks:
        pool.setdefault(chunk.id, chunk)
    for line in decided:
        if line.act in ("superseded", "deleted"):
            pool.pop(line.chunk, None)


def _teach(lessons: Lessons, pool: Sequence[Chunk], life: Life, turn: int, budget: int, policy: MemoryPolicy) -> None:
    told = [(fact.asks[0], value) for fact in life.facts if (value := fact.value(turn))]
    needs = [find_needed(pool, asked, value) for asked, value in told]
    scored = score(pool, policy, turn)
    for chunk in scored:
        lessons.examples.append(Example(chunk.features, float(sum(chunk.id in need for need in needs))))
    places = {chunk.id: at for at, chunk in enumerate(pool)}
    lessons.scenes.append(
        Scene(
            tuple(chunk.features for chunk in scored),
            tuple(chunk.tokens for chunk in scored),
            tuple(frozenset(places[name] for name in need) for need in needs),
            budget,
        )
    )
