"""A policy's course through a life: it hears every message, sits exams on the way, and is timed early and late."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import process_time

from anubhav.memory.present import HEADER
from anubhav.types.chat import Message as Turn
from benchmarks.memory.exam import Marks, examine
from benchmarks.memory.life import Fact, Life
from benchmarks.memory.message import Count, Held, plain
from benchmarks.memory.policies.policy import Policy
from benchmarks.memory.voice import Voice

CHECKPOINTS = (100, 200, 500, 1000, 2000, 5000, 10000)
_EARLY = range(100, 200)
_LATE = 100
"""The last messages, if there are ten times as many before them."""
_LOOK = 50
_REPLY = 24
_READABLE = 6000
"""Tokens of a block that the embedded model reads beside a question."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    turns: int
    facts: float
    tokens: int


@dataclass
class Course:
    marks: Marks
    """At the end."""
    checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])
    peak_tokens: int = 0
    """The most of all turns that were looked at: every fiftieth, and those timed."""
    early: float | None = None
    """Processor seconds of a turn: it is heard, and the block for the next prompt is made and counted."""
    late: float | None = None
    answered: dict[str, bool] | None = None
    """By fact: the model's reply to a question about it names its value. None: not asked, or too long to read."""


async def go(policy: Policy, life: Life, count: Count, voice: Voice | None = None) -> Course:
    """Through the whole life; the exam at the end is also given to the model where there is a voice."""
    turns = len(life.messages)
    late = range(turns - _LATE, turns) if turns >= 10 * _LATE else range(0)
    course, seconds = Course(Marks({}, {})), {"early": 0.0, "late": 0.0}
    for turn, message in enumerate(life.messages):
        watched = "early" if turn in _EARLY else "late" if turn in late else ""
        started = process_time()
        await policy.hear(message)
        if watched or turn % _LOOK == 0:
            tokens = cost(await policy.recall(message.text), count)
            course.peak_tokens = max(course.peak_tokens, tokens)
        if watched:
            seconds[watched] += process_time() - started
        if turn + 1 in CHECKPOINTS or turn + 1 == turns:
            await _sit(course, policy, life, turn + 1, count)
    course.early = seconds["early"] / len(_EARLY) if turns >= _EARLY.stop else None
    course.late = seconds["late"] / _LATE if late else None
    if voice:
        course.answered = await _answer(policy, life, voice)
    return course


async def _sit(course: Course, policy: Policy, life: Life, turns: int, count: Count) -> None:
    marks = await sit(policy, life, turns)
    course.marks = marks
    share = sum(marks.known.values()) / len(marks.known) if marks.known else 0.0
    tokens = cost(await policy.recall(life.messages[turns - 1].text), count)
    course.checkpoints.append(Checkpoint(turns, share, tokens))


async def sit(policy: Policy, life: Life, turns: int) -> Marks:
    """One exam for all facts; whoever sees the question first has one for each, and is marked by its own."""
    if not policy.outside:
        return examine(await policy.recall(), life, turns)
    told = [fact for fact in life.facts if fact.values(turns)]
    each = {fact.name: examine(await policy.recall(fact.asks[0]), life, turns) for fact in told}
    asked = [examine(await policy.recall(one.text), replace(life, open=(one,)), turns) for one in life.open]
    return Marks(
        {name: marks.known[name] for name, marks in each.items() if name in marks.known},
        {name: marks.clean[name] for name, marks in each.items() if name in marks.clean},
        {name: marks.believed[name] for name, marks in each.items() if name in marks.believed},
        tuple(held for marks in asked for held in marks.open),
        tuple(sorted({leak for marks in each.values() for leak in marks.leaks})),
        tuple(sorted({word for marks in each.values() for word in marks.invented})),
    )


def cost(held: Sequence[Held], count: Count) -> int:
    return sum(count(f"{line.role}: {line.text}\n") for line in held)


def block(held: Sequence[Held]) -> str:
    """As Memory Diffusion's stands in a prompt, for all policies alike."""
    return HEADER + "".join(f"{line.role}: {line.text}\n" for line in held)


async def _answer(policy: Policy, life: Life, voice: Voice) -> dict[str, bool] | None:
    turns = len(life.messages)
    answered: dict[str, bool] = {}
    for fact in life.facts:
        value = fact.value(turns)
        if value is None:
            continue
        notes = block(await policy.recall(fact.asks[0]))
        if voice.count(notes) > _READABLE:
            return None
        answered[fact.name] = plain(value).strip() in plain(await _ask(voice, notes, fact))
    return answered


async def _ask(voice: Voice, notes: str, fact: Fact) -> str:
    system = f"You know the user from these notes. Answer the user's question from them, in a few words.\n\n{notes}"
    return await voice.say([Turn("system", system), Turn("user", fact.asks[0])], tokens=_REPLY)
