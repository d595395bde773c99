"""Provenance: where the positions of a datum's targets came from, in the order they stand there."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """`length` positions of a datum that are positions of a sampled sequence, or of the prompt it was sampled after."""

    sequence: str
    offset: int
    length: int
    sampled: bool
    """False: of the prompt."""
