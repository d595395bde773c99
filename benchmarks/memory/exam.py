"""The exam at some point of a life: what a memory still tells, by a reader who cannot be wrong.

A line speaks of a fact if it holds one of the fact's key words and one of the values that were ever told for it. The
reader believes the last such line, and in it the value told last. An outdated value stands as current if a line gives
it without the one that is true. What was to be forgotten leaks if its value stands anywhere. Invented is a number or a
capitalised word that nobody has said.
"""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from benchmarks.memory.life import Fact, Life
from benchmarks.memory.message import Held, Message, plain

_FACTUAL = re.compile(r"\d+|(?<![^\W\d_])[A-Z][^\W\d_]*")


@dataclass(frozen=True, slots=True)
class Marks:
    """Of one exam."""

    known: dict[str, bool]
    """By fact that is true: its value is read off right."""
    clean: dict[str, bool]
    """By fact with an outdated value: the last one is read, and no outdated one stands as current."""
    believed: dict[str, bool] = field(default_factory=dict[str, bool])
    """By the same: the last one is read, whatever stands before it."""
    open: tuple[bool, ...] = ()
    """By question that nobody answered: its words are still there."""
    leaks: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()


def examine(held: Sequence[Held], life: Life, turns: int) -> Marks:
    """What the lines tell after so many messages of the life."""
    lines = [plain(line.text) for line in held]
    true = [fact for fact in life.facts if fact.value(turns)]
    updated = [fact for fact in true if len(fact.values(turns)) > 1]
    right = {fact.name: read(lines, fact, turns) == fact.value(turns) for fact in true}
    return Marks(
        known=right,
        clean={fact.name: right[fact.name] and not _outdated(lines, fact, turns) for fact in updated},
        believed={fact.name: right[fact.name] for fact in updated},
        open=tuple(
            any(_holds(line, plain(question.text)) for line in lines) for question in life.open if question.turn < turns
        ),
        leaks=tuple(_leaks(lines, life.facts, turns)),
        invented=tuple(sorted(_factual(line.text for line in held) - said_facts(life.messages[:turns]))),
    )


def read(lines: Sequence[str], fact: Fact, turns: int) -> str | None:
    """The value that the lines give for a fact."""
    values = fact.values(turns)
    for line in reversed(lines):
        if _speaks(line, fact) and (found := [value for value in values if plain(value) in line]):
            return found[-1]
    return None


def said_facts(messages: Iterable[Message]) -> Set[str]:
    """Numbers and words of all that was said, in lower case: what is among them was not invented."""
    said = " ".join(message.named for message in messages)
    return frozenset(re.findall(r"\d+", said)) | frozenset(re.findall(r"[^\W\d_]+", said.lower()))


def _factual(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(found.lower() for text in texts for found in _FACTUAL.findall(text))


def _speaks(line: str, fact: Fact) -> bool:
    return any(plain(key) in line for key in fact.keys)


def _outdated(lines: Sequence[str], fact: Fact, turns: int) -> bool:
    *old, now = (plain(value) for value in fact.values(turns))
    return any(_speaks(line, fact) and now not in line and any(value in line for value in old) for line in lines)


def _leaks(lines: Sequence[str], facts: Sequence[Fact], turns: int) -> Iterable[str]:
    for fact in facts:
        if fact.forgotten is not None and fact.forgotten < turns:
            for value in fact.values(turns):
                if any(plain(value) in line for line in lines):
                    yield f"{fact.name}: {value}"


def _holds(line: str, question: str) -> bool:
    """Most of a question's longer words."""
    words = [word for word in question.split() if len(word) > 3]
    return sum(f" {word} " in line for word in words) >= 0.8 * len(words)
