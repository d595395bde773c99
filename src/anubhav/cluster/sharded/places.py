"""What an adapter consists of, whoever holds which part: the places where it stands, and the two factors of each.

The places are those of the torch backend, module by module, so that files go from one to the other. The experts of a
layer are one place with stacked factors, in one of four kinds:

    per_expert     every expert has factors of its own
    tied           all experts of a layer share both
    shared_outer   they share the factor on the side of the hidden state: A of gate and up, B of down
    normalised     like per_expert, of rank r / k, with k the experts of a token: r in all for each token

Axes: X experts (1 where they share), R rank, I inputs, O outputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from anubhav.backends.torch.layers.adapters import EXPERTS, fresh_a, modules, sites, widths
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

Kind = Literal["per_expert", "tied", "shared_outer", "normalised"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Key = tuple[int, str]
"""(layer, module), or (layer, group of experts)."""


@dataclass(frozen=True, slots=True)
class Place:
    key: Key
    inputs: int
    outputs: int
    rank: int
    copies: tuple[int, int] | None = None
    """Of experts: how many A there are and how many B."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        a, b = (self.rank, self.inputs), (self.outputs, self.rank)
        return (a, b) if self.copies is None else ((self.copies[0], *a), (self.copies[1], *b))

    def scale(self, spec: LoraSpec) -> float:
        return spec.alpha / self.rank


def places(config: ModelConfig, spec: LoraSpec, kind: Kind) -> Iterator[Place]:
    """In the order of the torch backend's sites. Raises BadInput where the model has nothing of what `spec` trains."""
    for site in _sites(config, spec):
        yield from _at(config, spec, kind, site)


def _sites(config: ModelConfig, spec: LoraSpec) -> list[Key]:
    found = list(sites(config, spec))
    if not found:
        raise BadInput(
            "This model has no linear layers of the kinds that are to be trained",
            hint="Set train_attn, train_mlp or train_unembed.",
        )
    return found


def _at(config: ModelConfig, spec: LoraSpec, kind: Kind, site: Key) -> Iterator[Place]:
    layer, group = site
    inputs, outputs = widths(config, group)
    if group in EXPERTS:
        rank = expert_rank(config, spec.rank, kind)
        yield Place(site, inputs, outputs[0], rank, _copies(len(outputs), kind, group))
        return
    for module, width in zip(modules(config, group), outputs, strict=True):
        yield Place((layer, module), inputs, width, spec.rank)


def expert_rank(config: ModelConfig, rank: int, kind: Kind) -> int:
    """Raises BadInput for a rank that cannot be shared out."""
    each = config.mixture.each if config.mixture and kind == "normalised" else 1
    if rank % each:
        raise BadInput(
            f"The rank {rank} cannot be shared among the {each} experts of a token", hint=f"Use a multiple of {each}."
        )
    return rank // each


def _copies(experts: int, kind: Kind, group: str) -> tuple[int, int]:
    if kind == "tied":
        return 1, 1
    if kind == "shared_outer":
        return (experts, 1) if group == "experts_down" else (1, experts)
    return experts, experts


def fresh(config: ModelConfig, spec: LoraSpec, kind: Kind) -> Iterator[tuple[Place, Tensor, Tensor]]:
    """A ~ U(±1/√inputs) from the spec's seed, B = 0: to the bit what the torch backend begins with.

    One site at a time, as no rank needs to hold them all.
    """
    generator = torch.Generator().manual_seed(spec.seed)
    for site in _sites(config, spec):
        here = list(_at(config, spec, kind, site))
        count = here[0].copies[0] if here[0].copies else len(here)
        # Fused modules are drawn together there, and random numbers must come in the same order.
        drawn = fresh_a(here[0].rank * count, here[0].inputs, generator)
        parts = [drawn] if here[0].copies else drawn.split(here[0].rank)
        for place, a in zip(here, parts, strict=True):
            yield place, a.reshape(place.shapes[0]), torch.zeros(place.shapes[1])
