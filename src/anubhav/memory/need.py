"""Leave-one-out: how much harder an open question would be to say without a chunk, in the frozen base's own surprise.

need(chunk) = surprise(question | block without it) - surprise(question | block), for the chunks that speak of the same
things as a question nobody has answered. The block is the latest words and those chunks, which stand at its end: so all
readings share most of their computation. What a turn costs depends neither on the history nor on the budget.
"""

import math
from collections.abc import Mapping, Sequence

from anubhav.memory.cut import line
from anubhav.memory.features import spread
from anubhav.memory.words import content
from anubhav.ports import Reader
from anubhav.rendering.renderer import Renderer
from anubhav.types.memory import Chunk

CANDIDATES = 4
"""Chunks a turn that are left out in turn."""
_QUESTIONS = 2
"""The latest open ones."""
_LATEST = 192
"""Tokens of the latest words."""
_LINE = 128
"""Tokens of a line that are read."""
_UNIT = 4.0
"""Nats that make a need of 1."""
_FAR = 3.0


async def need(reader: Reader, renderer: Renderer, chunks: Sequence[Chunk], *, tenant: str = "") -> dict[str, float]:
    """By chunk id, at most `CANDIDATES` of them: nats over 4, cut off at 3. The others have none."""
    lines = {chunk.id: renderer.encode(f"{line(chunk)}\n")[:_LINE] for chunk in chunks}
    asked = _candidates(chunks)
    items: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for question, names in asked:
        latest = _latest(chunks, {question.id, *names}, lines)
        opening, words = renderer.encode(f"{question.role}:"), renderer.encode(f" {question.text}")[:_LINE]
        for left_out in (None, *names):
            block = [*latest, *(name for name in names if name != left_out)]
            items.append(((*(token for name in block for token in lines[name]), *opening), words))
    nats = iter([sum(one) for one in await reader.surprise(items, tenant=tenant)])
    found: dict[str, float] = {}
    for _, names in asked:
        whole = next(nats)
        found |= {name: max(-_FAR, min(_FAR, (next(nats) - whole) / _UNIT)) for name in names}
    return found


def _candidates(chunks: Sequence[Chunk]) -> list[tuple[Chunk, list[str]]]:
    """Open questions with the ids of chunks that share carrying words with them, those in the order they were said."""
    seen = spread(chunks)
    questions = [chunk for chunk in chunks if chunk.open][-_QUESTIONS:]
    pairs = [
        (_shared(question, chunk, seen, len(chunks)), at, number)
        for number, question in enumerate(questions)
        for at, chunk in enumerate(chunks)
        if not chunk.open and chunk.turn != question.turn
    ]
    chosen: dict[int, int] = {}
    for worth, at, number in sorted(pairs, reverse=True):
        if worth > 0 and len(chosen) < CANDIDATES:
            chosen.setdefault(at, number)
    return [
        (question, [chunks[at].id for at in sorted(chosen) if chosen[at] == number])
        for number, question in enumerate(questions)
        if number in chosen.values()
    ]


def _shared(question: Chunk, chunk: Chunk, seen: Mapping[str, int], chunks: int) -> float:
    return sum(math.log((chunks + 1) / seen[word]) for word in content(question.text) & content(chunk.text))


def _latest(chunks: Sequence[Chunk], taken: set[str], lines: Mapping[str, Sequence[int]]) -> list[str]:
    held: list[str] = []
    left = _LATEST
    for chunk in reversed(chunks):
        if chunk.id not in taken:
            left -= len(lines[chunk.id])
            if left < 0:
                break
            held.append(chunk.id)
    return held[::-1]
