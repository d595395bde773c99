"""Writing: what makes a shorter version good, for the school of the refiller and for its exam.

A version must pass `refill.verify` within its tokens. Those that do compete by how likely the passage's carrying words
are to the frozen base once it has read the version: what can be told from it was kept. A passage with words taken out
always passes, so what is learned is never worse than that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.memory.cut import Count, cost
from anubhav.memory.refill import shorten, telegram, verify
from anubhav.memory.words import kinds, split
from anubhav.ports import Reader
from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Role
from anubhav.types.memory import Chunk, Decision

_LEAST = 6
"""Carrying words of a passage worth a lesson."""
_PRICE = 0.2
"""What a version pays for all of its tokens, where 1 is all that can be told."""


@dataclass(frozen=True, slots=True)
class Passage:
    chunk: str
    role: Role
    text: str
    budget: int
    """Tokens of its line when only carrying words are left: what the allocation gives."""
    plain: str
    """With words taken out."""


def find_passages(decisions: Sequence[Decision], count: Count) -> tuple[Passage, ...]:
    """Of a ledger's lines, each text that had to be shortened or dropped and has words that only join, once."""
    texts = {one.before: one for one in decisions if one.act in ("compressed", "dropped") and one.before}
    found: list[Passage] = []
    for text, line in texts.items():
        chunk = Chunk(line.chunk, line.role, text, cost(line.role, text, count), line.said, 0.0)
        budget = telegram(chunk, count)
        worth = sum(kind != "joining" for kind in kinds(split(text))) >= _LEAST and budget < chunk.tokens
        if worth and (plain := shorten(chunk, budget, count)):
            found.append(Passage(chunk.id, chunk.role, text, budget, plain.text))
    return tuple(found)


async def judge(
    reader: Reader, renderer: Renderer, passage: Passage, versions: Sequence[str], count: Count, *, tenant: str = ""
) -> list[float | None]:
    """Per version, the share of the passage's own nats that it explains, less the price; None: it may not stand."""
    fit = [
        not verify(passage.text, version) and cost(passage.role, version, count) <= passage.budget
        for version in versions
    ]
    words = split(passage.text)
    told = [word for word, kind in zip(words, kinds(words), strict=True) if kind != "joining"]
    asked = renderer.encode("".join(f" {word}" for word in told))
    opening = renderer.encode("\n")
    items = [(opening, asked)]
    items += [((*renderer.encode(f"{version}\n"),), asked) for version, ok in zip(versions, fit, strict=True) if ok]
    nats = [sum(one) for one in await reader.surprise(items, tenant=tenant)]
    explained = iter([1 - one / nats[0] for one in nats[1:]])
    return [
        next(explained) - _PRICE * cost(passage.role, version, count) / passage.budget if ok else None
        for version, ok in zip(versions, fit, strict=True)
    ]
