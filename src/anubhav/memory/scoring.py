"""Scores: how much a chunk is worth, by a policy's weights over its features; and what the model is asked for them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from anubhav.memory.features import describe, place, spread
from anubhav.types.memory import Chunk, MemoryPolicy

_CAP = 20.0
"""Of the logarithm of a score, either way."""

FIXED = MemoryPolicy(
    "fixed",
    {
        "content": 0.36, "rarity": 4.4, "names": 0.4, "numbers": 0.6, "question": -0.75, "first_person": 0.3,
        "repeated": 0.6, "user": 0.3, "tool": -0.6, "surprise": 0.5,
    },
)  # fmt: skip
"""Set by hand; docs/memory.md says from what."""


class Weigh(Protocol):
    async def __call__(self, context: str, texts: Sequence[str]) -> list[tuple[float, ...]]:
        """Per text, a weight for each of its words (memory.words.split)."""
        ...


class Look(Protocol):
    async def __call__(self, chunks: Sequence[Chunk]) -> Mapping[str, Mapping[str, float]]:
        """By chunk id, features that only the model can tell (`attention`, `need`); not every chunk has any."""
        ...


def score(
    chunks: Sequence[Chunk], policy: MemoryPolicy, turn: int, looked: Mapping[str, Mapping[str, float]] | None = None
) -> list[Chunk]:
    """The chunks with features and scores of now. Rarity and age change while others come."""
    seen = spread(chunks)
    scored: list[Chunk] = []
    for chunk in chunks:
        features = {
            **(chunk.features or describe(chunk)),
            **place(chunk, seen, len(chunks), turn),
            **(looked or {}).get(chunk.id, {}),
        }
        scored.append(replace(chunk, features=features, score=worth(features, policy)))
    return scored


def worth(features: Mapping[str, float], policy: MemoryPolicy) -> float:
    total = sum(weight * features.get(name, 0.0) for name, weight in policy.weights.items() if weight)
    return math.exp(max(-_CAP, min(_CAP, total)))
