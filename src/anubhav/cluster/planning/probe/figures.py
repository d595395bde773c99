"""What the probe answers with. No torch in here: the process that reads an answer imports what its classes stand in."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes on the first rank of a stage."""

    weights: int
    adapters: int
    optimizer: int
    gradients: int


@dataclass(frozen=True, slots=True)
class Traced:
    peak: int
    """Live bytes at their peak beyond weights and adapters: activations, and weights that are gathered for a while."""
    calls: Mapping[str, int]
    sizes: Mapping[str, int]
    """Bytes that the collectives of a name hand over on a rank."""
