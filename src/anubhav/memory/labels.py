"""Labels: what a later question with its right answer says about the chunks it could have drawn on.

The right answer is what a person wrote as a correction, or a reply they liked. A chunk was needed if it holds numbers
or names (or, without any, other carrying words) of the answer that the question did not already hold. What was dropped
before counts as well: a correction for something forgotten is the label that matters most.
"""

from collections.abc import Sequence
from dataclasses import replace

from anubhav.memory.cut import Count, cost
from anubhav.memory.features import describe, place, spread
from anubhav.memory.learn import Example
from anubhav.memory.words import content, facts, stem
from anubhav.types.memory import Chunk, Decision

_FORGOTTEN = 2.0
"""How much more a needed chunk teaches that was not there any more, or not whole."""


def label(
    chunks: Sequence[Chunk], dropped: Sequence[Decision], asked: str, right: str, turn: int, count: Count
) -> tuple[Example, ...]:
    """An example for each chunk held and each one dropped; none where the answer told nothing new or nothing fits.

    `dropped`: newest first. A chunk counts once, as it was before anything was taken out of it.
    """
    gone = {line.chunk: line for line in dropped if line.act in ("dropped", "compressed") and line.before}
    held = {chunk.id: replace(chunk, text=gone[chunk.id].before) if chunk.id in gone else chunk for chunk in chunks}
    pool = [*(_as_it_was(line) for name, line in gone.items() if name not in held), *held.values()]
    needed = find_needed(pool, asked, right)
    seen = spread(pool)
    return tuple(
        Example(
            {**(chunk.features or describe(chunk)), **place(chunk, seen, len(pool), turn)},
            float(chunk.id in needed),
            _FORGOTTEN if chunk.id in needed and chunk.id in gone else 1.0,
            cost(chunk.role, chunk.text, count),
        )
        for chunk in (pool if needed else ())
    )


def find_needed(chunks: Sequence[Chunk], asked: str, right: str) -> frozenset[str]:
    """Of the chunks that hold what the answer tells, those closest to question and answer; empty if none does."""
    wanted = _stems(facts(right)) - _stems(facts(asked)) or _stems(content(right)) - _stems(content(asked))
    about = _stems(content(asked)) | _stems(content(right))
    close: dict[str, int] = {}
    for chunk in chunks:
        held = _stems(content(chunk.text))
        if held & wanted:
            close[chunk.id] = len(held & about) + 2 * len(held & wanted)
    best = max(close.values(), default=0)
    return frozenset(name for name, words in close.items() if words == best)


def _as_it_was(line: Decision) -> Chunk:
    return Chunk(line.chunk, line.role, line.before, 0, line.said, 0.0)


def _stems(words: frozenset[str]) -> frozenset[str]:
    return frozenset(stem(word) for word in words)
