"""Refill: a masked chunk is written anew within its tokens.

The model may fill the gap (fill-in-the-middle, by instruction: small chat models have no tokens for it); what it
writes stands only if a verifier agrees. Otherwise words are taken out: first those that only join, then those that
weigh least. Taking out can invent nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from anubhav.memory.cut import Count, cost, reword
from anubhav.memory.words import Kind, bare, content, facts, kinds, split, trim
from anubhav.types.memory import Chunk

_RANK: dict[Kind, int] = {"number": 4, "name": 3, "negation": 3, "content": 2, "joining": 0}
_KEPT_CONTENT = 0.5
"""Of the carrying words a rewritten chunk must still hold, so that it is a version and no other text."""


class Rewrite(Protocol):
    async def __call__(self, before: str, chunk: str, after: str, budget: int) -> str:
        """A version of `chunk` in at most `budget` tokens, to stand between `before` and `after`."""
        ...


def shorten(chunk: Chunk, budget: int, count: Count) -> Chunk | None:
    """The chunk with words taken out until its line costs at most `budget`; None if nothing that carries would be left.

    A number stays with the content word before it or not at all.
    """
    words = [trim(word) for word in split(chunk.text)]
    found = kinds(words)
    weights = chunk.weights if len(chunk.weights) == len(words) else (0.0,) * len(words)
    order = sorted(range(len(words)), key=lambda i: (-_RANK[found[i]], -weights[i], i))
    carrying = sum(kind != "joining" for kind in found)
    keep = _most(order, carrying, lambda kept: cost(chunk.role, _join(words, kept), count) <= budget)
    if not any(found[i] != "joining" for i in keep):
        return None
    return _with(chunk, words, sorted(keep), count)


def telegram(chunk: Chunk, count: Count) -> int:
    """Tokens of the chunk's line when only the words that carry something are left; 0 if there are none."""
    words = split(chunk.text)
    kept = [trim(word) for word, kind in zip(words, kinds(words), strict=True) if kind != "joining"]
    if kept == words:
        return chunk.tokens
    return cost(chunk.role, " ".join(kept), count) if kept else 0


def reworded(chunk: Chunk, text: str, count: Count) -> Chunk:
    """The chunk in a version's words, each told to be of the sentence that said it, or else of the one before it."""
    words = split(chunk.text)
    told = dict(zip(map(bare, words), chunk.sentences, strict=True)) if len(chunk.sentences) == len(words) else {}
    sentences: list[int] = []
    for word in split(text) if told else ():
        sentences.append(told.get(bare(word), sentences[-1] if sentences else 0))
    return replace(reword(chunk, text, count), sentences=tuple(sentences))


def pick(chunk: Chunk, keep: Sequence[int], count: Count) -> Chunk:
    """The chunk with these of its words only."""
    return _with(chunk, split(chunk.text), keep, count)


def _with(chunk: Chunk, words: Sequence[str], keep: Sequence[int], count: Count) -> Chunk:
    text = _join(words, keep)
    return replace(
        chunk,
        text=text,
        tokens=cost(chunk.role, text, count),
        weights=tuple(chunk.weights[i] for i in keep) if len(chunk.weights) == len(words) else (),
        sentences=tuple(chunk.sentences[i] for i in keep) if len(chunk.sentences) == len(words) else (),
    )


def verify(chunk: str, version: str) -> str:
    """Why a version must not stand, or "": it may name no number and no name that was not there."""
    if not version.strip():
        return "empty"
    # Any capital, also at a sentence's start, has to come from somewhere.
    known = {bare(word) for word in split(chunk)}
    invented = sorted(word for word in facts(f"so {version}") if word not in known)
    if invented:
        return f"names what was not there: {', '.join(invented[:3])}"
    before = content(chunk)
    if before and len(before & content(version)) < _KEPT_CONTENT * len(before):
        return "lost most of what it said"
    lost = facts(chunk) - {bare(word) for word in split(version)}
    return f"lost {', '.join(sorted(lost)[:3])}" if lost else ""


def _join(words: Sequence[str], keep: Sequence[int]) -> str:
    return " ".join(words[i] for i in sorted(keep))


def _most(order: Sequence[int], carrying: int, fits: Callable[[Sequence[int]], bool]) -> Sequence[int]:
    """The longest beginning of `order` that fits, by bisection; joining words only if all others fit."""
    low, high = 0, len(order) if fits(order) else carrying
    while low < high:
        middle = (low + high + 1) // 2
        if fits(order[:middle]):
            low = middle
        else:
            high = middle - 1
    return order[:low]
