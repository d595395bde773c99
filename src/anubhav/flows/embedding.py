"""Embedding: texts as vectors of unit length, made of what the frozen base reads in them (`ports.Reader.read`).

A text is read in parts that a reader takes whole; the mean over the parts, each weighing as its tokens, is the text's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.types.arrays import Array

_PART = 128
"""Tokens: what is longer than three quarters of a reader's window it would shorten."""
_TOGETHER = 64
"""Parts read at a time, so that others take their turns."""
_MOST = 300_000
"""Tokens of one request."""


@dataclass(frozen=True, slots=True)
class Embedded:
    model: str
    vectors: tuple[tuple[float, ...], ...]
    tokens: int
    """Read for all of them together."""


async def embed(
    house: House, tenant: str, model: str, texts: Sequence[str | tuple[int, ...]], dimensions: int | None
) -> Embedded:
    """Of the base model behind any name that answers: an adapter's name gives the same vectors as its base.

    Raises BadInput for an empty text, more tokens than one request may have, and more dimensions than there are.
    """
    await house.voices.meter.admit(tenant)
    voice = await house.voices.resolve(tenant, model)
    renderer = house.renderers[voice.base_model]
    read = [renderer.encode(text) if isinstance(text, str) else text for text in texts]
    total = sum(map(len, read))
    if not all(read):
        raise BadInput("An input is empty", hint="Send texts or token lists with something in them.")
    if total > _MOST:
        raise BadInput(f"{total} tokens are more than {_MOST} in one request", hint="Send fewer inputs at a time.")
    house.voices.meter.begin(tenant)
    try:
        features = await _features(house, tenant, voice.base_model, read)
    finally:
        house.voices.meter.end(tenant, total)
    return Embedded(voice.name, tuple(_unit(one, dimensions) for one in features), total)


async def _features(house: House, tenant: str, base_model: str, read: Sequence[tuple[int, ...]]) -> list[list[float]]:
    """The weighed mean over the parts of each."""
    parts = [(number, one[at : at + _PART]) for number, one in enumerate(read) for at in range(0, len(one), _PART)]
    found: list[Array] = []
    for first in range(0, len(parts), _TOGETHER):
        items = [((), part) for _, part in parts[first : first + _TOGETHER]]
        found += await house.readers[base_model].read(items, tenant=tenant)
    sums = [[0.0] * len(found[0]) for _ in read]
    for (number, part), features in zip(parts, found, strict=True):
        share = len(part) / len(read[number])
        sums[number] = [sum_ + share * value for sum_, value in zip(sums[number], features.tolist(), strict=True)]
    return sums


def _unit(features: Sequence[float], dimensions: int | None) -> tuple[float, ...]:
    """The first so many, which vary most over general text, as a vector of length 1."""
    if dimensions is not None and dimensions > len(features):
        raise BadInput(f"There are {len(features)} dimensions, not {dimensions}", hint="Ask for fewer.")
    kept = features[:dimensions]
    length = math.sqrt(sum(value * value for value in kept)) or 1.0
    return tuple(value / length for value in kept)
