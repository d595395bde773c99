"""LoRA adapters: W' = W + (alpha / rank) B A on the fused projections of every layer and on the unembedding.

Modules that are fused in the base (q, k, v; gate, up) share one pair: their A stand above one another, their B on the
diagonal of one matrix whose other blocks stay zero. Axes: I inputs, O outputs, R rank (times the number fused).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.config import ModelConfig
from anubhav.types.training import LoraSpec

Site = tuple[int, str]
"""(layer, group); the unembedding is (number of layers, "head")."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
    "head": ("lm_head",),
}


@dataclass(frozen=True, slots=True)
class Pair:
    a_RI: Tensor
    b_OR: Tensor
    blocks_OR: Tensor | None
    """1 on the diagonal blocks of a fused pair, 0 elsewhere; None where nothing is fused."""


@dataclass(frozen=True, slots=True)
class Adapter:
    spec: LoraSpec
    pairs: Mapping[Site, Pair]

    @property
    def scale(self) -> float:
        return self.spec.alpha / self.spec.rank

    def parameters(self) -> list[Tensor]:
        """A then B of every site, in a fixed order."""
        return [tensor for pair in self.pairs.values() for tensor in (pair.a_RI, pair.b_OR)]


def widths(config: ModelConfig, group: str) -> tuple[int, tuple[int, ...]]:
    """Inputs, and the outputs of each fused module."""
    table = {
        "qkv": (config.hidden, (config.q_width, config.kv_width, config.kv_width)),
        "o": (config.q_width, (config.hidden,)),
        "gate_up": (config.hidden, (config.intermediate, config.intermediate)),
        "down": (config.intermediate, (config.hidden,)),
        "head": (config.hidden, (config.vocab,)),
    }
    return table[group]


def sites(config: ModelConfig, spec: LoraSpec) -> Iterator[Site]:
    groups = (("qkv", "o") if spec.train_attn else ()) + (("gate_up", "down") if spec.train_mlp else ())
    for layer in range(config.layers):
        for group in groups:
            yield layer, group
    if spec.train_unembed:
        yield config.layers, "head"


def fresh_adapter(config: ModelConfig, spec: LoraSpec, device: torch.device) -> Adapter:
    """A ~ U(±1/√inputs) from the spec's seed, B = 0 (Tinker's and PEFT's initialisation)."""
    generator = torch.Generator().manual_seed(spec.seed)
    pairs: dict[Site, Pair] = {}
    for site in sites(config, spec):
        inputs, outputs = widths(config, site[1])
        a_RI = fresh_a(spec.rank * len(outputs), inputs, generator)
        pairs[site] = fuse(spec.rank, a_RI, [torch.zeros(width, spec.rank) for width in outputs], device)
    return Adapter(spec, pairs)


def fresh_a(rank: int, inputs: int, generator: torch.Generator) -> Tensor:
    """A ~ U(±1/√inputs), whatever the rank."""
    return torch.empty(rank, inputs).uniform_(-1, 1, generator=generator) / math.sqrt(inputs)


def fuse(rank: int, a_RI: Tensor, parts: list[Tensor], device: torch.device) -> Pair:
    """One trainable pair from the stacked A and the B of each module."""
    b_OR = torch.block_diag(*parts)
    blocks_OR = torch.block_diag(*[torch.ones(len(part), rank) for part in parts]) if len(parts) > 1 else None
    return Pair(
        a_RI.to(device, torch.float32).contiguous().requires_grad_(),
        b_OR.to(device, torch.float32).contiguous().requires_grad_(),
        None if blocks_OR is None else blocks_OR.to(device),
    )


def split(
    config: ModelConfig, spec: LoraSpec, group: str, a_RI: Tensor, b_OR: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The (module, A, B) of each module fused in a pair-shaped couple of tensors."""
    row = 0
    for number, (module, width) in enumerate(zip(GROUPS[group], widths(config, group)[1], strict=True)):
        ranks = slice(number * spec.rank, (number + 1) * spec.rank)
        yield module, a_RI[ranks], b_OR[row : row + width, ranks]
        row += width
