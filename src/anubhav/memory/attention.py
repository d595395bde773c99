"""Attention: how much the latest words, and a probe that asks what will matter, look back at each chunk.

The memory is read in blocks of some hundred tokens, each followed by the same latest words and the probe, so that what
it costs grows with the tokens read and these are bounded. A chunk's value is the log of its share of the attention that
the block's chunks get, over its share of their tokens: 0 is no more than its length explains.
"""

import math
from collections.abc import Sequence

from anubhav.memory.cut import line
from anubhav.ports import Reader
from anubhav.rendering.renderer import Renderer
from anubhav.types.memory import Chunk

HEAD = "What was said before:\n"
"""The first token of a text gets most of the attention, whatever it is; here it is no chunk's."""
PROBE = "What of this will matter later?"
_WINDOW = 64
"""Tokens of the latest words that look."""
_BLOCK = 384
"""Tokens of chunks that are read together; a model whose context is below 512 cannot."""
_MOST = 2048
"""Tokens of chunks, the latest, that are read at all."""
_FAR = 3.0

_Line = tuple[str, tuple[int, ...]]
"""A chunk's id and the tokens of its line."""


async def attention(
    reader: Reader, renderer: Renderer, chunks: Sequence[Chunk], *, tenant: str = ""
) -> dict[str, float]:
    """By chunk id, in -3..3. The latest words have none, nor what is said before the latest 2,048 tokens."""
    lines = [(chunk.id, renderer.encode(f"{line(chunk)}\n")[:_BLOCK]) for chunk in chunks]
    lines, latest = _part(lines)
    asking = (*latest, *renderer.encode(PROBE))
    opening = renderer.encode(HEAD)
    found: dict[str, float] = {}
    for block in _blocks(lines):
        prompt, spans = list(opening), list[tuple[int, int]]()
        for _, tokens in block:
            spans.append((len(prompt), len(prompt) + len(tokens)))
            prompt += tokens
        shares = await reader.attend((*prompt, *asking), spans, len(asking), tenant=tenant)
        found |= _compare(block, shares)
    return found


def _part(lines: Sequence[_Line]) -> tuple[Sequence[_Line], tuple[int, ...]]:
    """The lines before the latest words, and the latest words."""
    latest: tuple[int, ...] = ()
    at = len(lines)
    while at and len(latest) < _WINDOW:
        at -= 1
        latest = (*lines[at][1], *latest)
    return lines[:at], latest[-_WINDOW:]


def _blocks(lines: Sequence[_Line]) -> list[list[_Line]]:
    """From the latest backwards, so that the oldest block is the one that is cut short."""
    blocks: list[list[_Line]] = []
    total, held = 0, _BLOCK
    for name, tokens in reversed(lines):
        total += len(tokens)
        if total > _MOST:
            break
        if held + len(tokens) > _BLOCK:
            blocks.append([])
            held = 0
        blocks[-1].insert(0, (name, tokens))
        held += len(tokens)
    return blocks


def _compare(block: Sequence[_Line], shares: Sequence[float]) -> dict[str, float]:
    even = sum(shares) / sum(len(tokens) for _, tokens in block)
    return {
        name: max(-_FAR, min(_FAR, math.log(max(share, 1e-9) / (len(tokens) * max(even, 1e-9)))))
        for (name, tokens), share in zip(block, shares, strict=True)
    }
