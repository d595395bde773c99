"""LoRA adapters: W' = W + (alpha / rank) B A on the fused projections of every layer and on the unembedding.

Modules that are fused in the base (q, k, v; gate, up) share one pair: their A stand above one another, their B on the
diagonal of one matrix whose other blocks stay zero. The experts of a mixture have a pair each, of which all A are one
tensor (X, R, I) and all B another (X, O, R). Of a model that transformers computes each linear layer is a group of its
own, under the name it has there. Axes: I inputs, O outputs, R rank (times the number fused), X experts.
"""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

Site = tuple[int, str]
"""(layer, group); the unembedding is (number of layers, "head")."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
    "latents": ("self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa"),
    "query_latents": ("self_attn.q_proj", "self_attn.kv_a_proj_with_mqa"),
    "experts_gate": ("mlp.experts.*.gate_proj",),
    "experts_up": ("mlp.experts.*.up_proj",),
    "experts_down": ("mlp.experts.*.down_proj",),
    "shared_gate_up": ("mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj"),
    "shared_down": ("mlp.shared_experts.down_proj",),
    "head": ("lm_head",),
}
"""The modules of each group of a layer, as PEFT calls them; * is the number of an expert."""
ATTENTION = frozenset({"qkv", "o", "latents", "query_latents"})
EXPERTS = ("experts_gate", "experts_up", "experts_down")


@dataclass(frozen=True, slots=True)
class Pair:
    a_RI: Tensor
    """Of experts (X, R, I)."""
    b_OR: Tensor
    """Of experts (X, O, R)."""
    blocks_OR: Tensor | None
    """1 on the diagonal blocks of a fused pair, 0 elsewhere; None where nothing is fused."""
    widths: tuple[int, ...]
    """The outputs of each module that is fused."""


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


@functools.cache
def modules(config: ModelConfig, group: str) -> tuple[str, ...]:
    """What stands in the group, by name: one behind the other, or one expert after the other."""
    if group == "head":
        return (config.head_name,)
    if config.foreign:
        return tuple(one.module for one in config.foreign.linears if one.group == group)
    if group not in EXPERTS or config.mixture is None:
        return GROUPS[group]
    return tuple(GROUPS[group][0].replace("*", str(number)) for number in range(config.mixture.experts))


@functools.cache
def widths(config: ModelConfig, group: str) -> tuple[int, tuple[int, ...]]:
    """Inputs, and the outputs of each module."""
    hidden = config.hidden
    table: dict[str, tuple[int, tuple[int, ...]]] = {
        "qkv": (hidden, (config.q_width, config.kv_width, config.kv_width)),
        "o": (config.q_width, (hidden,)),
        "gate_up": (hidden, (config.intermediate, config.intermediate)),
        "down": (config.intermediate, (hidden,)),
        "head": (hidden, (config.vocab,)),
    }
    if config.foreign:
        table |= {one.group: (one.inputs, (one.outputs,)) for one in config.foreign.linears}
    if latent := config.latent:
        kept = latent.rank + latent.turned
        queries = config.heads * (latent.plain + latent.turned)
        table["o"] = (config.heads * latent.values, (hidden,))
        table["latents"] = (hidden, (latent.query_rank or 0, kept))
        table["query_latents"] = (hidden, (queries, kept))
    if mixture := config.mixture:
        table["experts_gate"] = table["experts_up"] = (hidden, (mixture.width,) * mixture.experts)
        table["experts_down"] = (mixture.width, (hidden,) * mixture.experts)
        table["shared_gate_up"] = (hidden, (mixture.shared, mixture.shared))
        table["shared_down"] = (mixture.shared, (hidden,))
    return table[group]


def groups_of(config: ModelConfig, layer: int, spec: LoraSpec) -> tuple[str, ...]:
    """What the layer has of what `spec` trains."""
    if config.foreign:
        found = (one for one in config.foreign.linears if layer in one.layers)
        return tuple(one.group for one in found if (spec.train_attn if one.attention else spec.train_mlp))
    groups: list[str] = []
    if spec.train_attn:
        inner = "qkv" if config.latent is None else "latents" if config.latent.query_rank else "query_latents"
        groups += [inner, "o"]
    if spec.train_mlp and config.mixture and config.mixed(layer):
        groups += EXPERTS
        groups += ["shared_gate_up", "shared_down"] if config.mixture.shared else []
    elif spec.train_mlp:
        groups += ["gate_up", "down"]
    return tuple(groups)


def attends(config: ModelConfig, group: str) -> bool:
    """Whether the group belongs to attention."""
    if config.foreign:
        return any(one.attention for one in config.foreign.linears if one.group == group)
    return group in ATTENTION


def sites(config: ModelConfig, spec: LoraSpec) -> Iterator[Site]:
    for layer in range(config.layers):
        for group in groups_of(config, layer, spec):
            yield layer, group
    if spec.train_unembed:
        yield config.layers, "head"


def fresh_adapter(config: ModelConfig, spec: LoraSpec, device: torch.device) -> Adapter:
    """A ~ U(±1/√inputs) from the spec's seed, B = 0 (Tinker's and PEFT's initialisation).

    Raises BadInput where the model has nothing of what the spec trains.
    """
    generator = torch.Generator().manual_seed(spec.seed)
    pairs: dict[Site, Pair] = {}
    for site in sites(config, spec):
        inputs, outputs = widths(config, site[1])
        a_RI = fresh_a(spec.rank * len(outputs), inputs, generator)
        pairs[site] = fuse(site[1], spec.rank, a_RI, [torch.zeros(width, spec.rank) for width in outputs], device)
    if not pairs:
        raise BadInput(
            "This model has no linear layers of the kinds that are to be trained",
            hint="Set train_attn, train_mlp or train_unembed.",
        )
    return Adapter(spec, pairs)


def fresh_a(rank: int, inputs: int, generator: torch.Generator) -> Tensor:
    """A ~ U(±1/√inputs), whatever the rank."""
    return torch.empty(rank, inputs).uniform_(-1, 1, generator=generator) / math.sqrt(inputs)


def fuse(group: str, rank: int, a_RI: Tensor, parts: list[Tensor], device: torch.device) -> Pair:
    """One trainable pair from the stacked A and the B of each module."""
    if group in EXPERTS:
        a_XRI, b_XOR = a_RI.view(len(parts), rank, -1), torch.stack(parts)
        a_XRI, b_XOR = (x.to(device, torch.float32).contiguous().requires_grad_() for x in (a_XRI, b_XOR))
        return Pair(a_XRI, b_XOR, None, (b_XOR.shape[1],))
    b_OR = torch.block_diag(*parts)
    blocks_OR = torch.block_diag(*[torch.ones(len(part), rank) for part in parts]) if len(parts) > 1 else None
    return Pair(
        a_RI.to(device, torch.float32).contiguous().requires_grad_(),
        b_OR.to(device, torch.float32).contiguous().requires_grad_(),
        None if blocks_OR is None else blocks_OR.to(device),
        tuple(len(part) for part in parts),
    )


def split(
    config: ModelConfig, spec: LoraSpec, group: str, a_RI: Tensor, b_OR: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The (module, A, B) of each module in a pair-shaped couple of tensors."""
    if group in EXPERTS:
        yield from zip(modules(config, group), a_RI, b_OR, strict=True)
        return
    row = 0
    for number, (module, width) in enumerate(zip(modules(config, group), widths(config, group)[1], strict=True)):
        ranks = slice(number * spec.rank, (number + 1) * spec.rank)
        yield module, a_RI[ranks], b_OR[row : row + width, ranks]
        row += width
