"""What a model consists of: its weights by layer, as the real architecture has them, and the sizes of its mixture."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Role = Literal["embedding", "attention", "dense", "shared", "expert", "router", "norm", "unembedding"]


@dataclass(frozen=True, slots=True)
class Weight:
    """One parameter. A weight of experts is their stack: experts, outputs, inputs."""

    name: str
    """Within its layer, or within the model outside of the layers."""
    shape: tuple[int, ...]
    role: Role
    linear: bool
    """The matrix of a linear layer, which LoRA can adapt."""
    sliced: int | None
    """The dimension that tensor parallelism cuts, by the architecture's own plan; None: every rank has all of it."""

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Heads:
    """What attention computes with, by token."""

    queries: int
    keys: int
    query_width: int
    """Of one head."""
    value_width: int
    cached: int
    """Values that a layer's cache keeps of a token: a latent, or the keys and values of all heads."""
    latent: bool


@dataclass(frozen=True, slots=True)
class Mixture:
    experts: int
    chosen: int
    """Experts of a token."""
    width: int


@dataclass(frozen=True, slots=True)
class Census:
    """Layers that are alike are of one kind, and stored once."""

    family: str
    hidden: int
    vocabulary: int
    heads: Heads
    mixture: Mixture | None
    kinds: tuple[tuple[Weight, ...], ...]
    layers: tuple[int, ...]
    """The kind of each."""
    before: tuple[Weight, ...]
    """The embedding."""
    after: tuple[Weight, ...]
    """The last norm and the unembedding, which a tied model does not store."""
    tied: bool
    router_biases: int
    """Values of routers that steer the load; stored with the model, and no parameters."""

    def weights(self) -> Iterator[tuple[Weight, int]]:
        """Each weight and how often the model has it."""
        yield from ((weight, 1) for weight in (*self.before, *self.after))
        for kind, weights in enumerate(self.kinds):
            yield from ((weight, self.layers.count(kind)) for weight in weights)

    @property
    def parameters(self) -> int:
        return sum(weight.count * times for weight, times in self.weights())

    @property
    def active(self) -> int:
        """Parameters that one token meets, both embeddings among them."""
        share = self.mixture.chosen / self.mixture.experts if self.mixture else 1.0
        return sum(
            round(weight.count * share if weight.role == "expert" else weight.count) * times
            for weight, times in self.weights()
        )

    @property
    def multiplied(self) -> int:
        """Parameters that one token is multiplied with: the active ones without the lookup of the embedding."""
        return self.active - (0 if self.tied else sum(weight.count for weight in self.before))

    @property
    def sliceable(self) -> bool:
        """The architecture has a plan for tensor parallelism."""
        return any(weight.sliced is not None for weight, _ in self.weights())

    @property
    def heads_sliced(self) -> bool:
        """That plan cuts attention by its heads."""
        return any(weight.role == "attention" and weight.sliced is not None for weight, _ in self.weights())
