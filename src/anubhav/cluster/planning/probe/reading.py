"""The census of a model: every parameter of the architecture by its role, and where tensor parallelism cuts it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.census import Census, Heads, Mixture, Role, Weight
from anubhav.cluster.planning.probe.architecture import build, part, shard, tied, world
from anubhav.errors import BadInput


def read_census(config: Mapping[str, Any]) -> Census:
    model = build(config)
    biases = sum(value.numel() for name, value in model.named_buffers() if "bias" in name)
    weights = list(_weights(model))
    kinds: list[tuple[Weight, ...]] = []
    layers: list[int] = []
    for index in range(len(_base(model).layers)):
        found = tuple(weight for layer, weight in weights if layer == index)
        if found not in kinds:
            kinds.append(found)
        layers.append(kinds.index(found))
    cuts = _cuts(config, model, [layers.index(kind) for kind in range(len(kinds))])
    outside = [_cut(weight, cuts, "") for layer, weight in weights if layer is None]
    text = model.config.get_text_config()
    return Census(
        family=type(model).__name__,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
        heads=_heads(text),
        mixture=_mixture(text, weights),
        kinds=tuple(
            tuple(_cut(weight, cuts, f"{model.base_model_prefix}.layers.{kind}.") for weight in found)
            for kind, found in enumerate(kinds)
        ),
        layers=tuple(layers),
        before=tuple(weight for weight in outside if weight.role == "embedding"),
        after=tuple(weight for weight in outside if weight.role != "embedding"),
        tied=tied(model),
        router_biases=biases,
    )


def _base(model: Any) -> Any:
    base: Any = getattr(model, model.base_model_prefix, None)
    if not isinstance(getattr(base, "layers", None), nn.ModuleList):
        raise BadInput(
            f"{type(model).__name__} keeps its layers elsewhere than the planner looks",
            hint="Plan a decoder whose layers are one list: Llama, Qwen, DeepSeek and their kin.",
        )
    return base


def _cuts(config: Mapping[str, Any], model: Any, layers: list[int]) -> dict[str, int]:
    """Parameter, of these layers → the dimension that the architecture's own plan cuts among two ranks; of a tied model
    none."""
    if not model.tp_plan or tied(model):
        return {}
    with world(2):
        sharded = shard(part(config, layers), Layout(tp=2))
        placed: dict[str, tuple[Any, int]] = {
            name: (weight.placements[0], weight.ndim)
            for name, weight in sharded.named_parameters()
            if isinstance(weight, DTensor)
        }
    return {name: placement.dim % axes for name, (placement, axes) in placed.items() if not placement.is_replicate()}


def _cut(weight: Weight, cuts: Mapping[str, int], prefix: str) -> Weight:
    return replace(weight, sliced=cuts.get(prefix + weight.name))


def _weights(model: Any) -> Iterator[tuple[int | None, Weight]]:
    """Layer (None: outside of them) and weight, not cut yet."""
    modules: dict[str, nn.Module] = dict(model.named_modules())
    prefix = f"{model.base_model_prefix}.layers."
    embedding, unembedding = model.get_input_embeddings(), model.get_output_embeddings()
    parameters: Iterator[tuple[str, torch.Tensor]] = model.named_parameters()
    for name, parameter in parameters:
        module = modules[name.rpartition(".")[0]]
        layer, _, within = name.removeprefix(prefix).partition(".") if name.startswith(prefix) else ("", "", name)
        role = (
            "embedding" if module is embedding else "unembedding" if module is unembedding else _role(name, parameter)
        )
        linear = isinstance(module, nn.Linear) and parameter.ndim == 2
        yield int(layer) if layer else None, Weight(within, tuple(parameter.shape), role, linear, None)


def _role(name: str, parameter: torch.Tensor) -> Role:
    """Of a parameter that is no embedding."""
    if ".experts." in name:
        if parameter.ndim != 3:
            raise BadInput(
                "The experts of this architecture are not stacked three-dimensional matrices",
                hint="Plan a mixture that transformers keeps as `experts.gate_up_proj` and `experts.down_proj`.",
            )
        return "expert"
    if "attn" in name or "attention" in name:
        return "norm" if "norm" in name else "attention"
    if parameter.ndim == 1 and "norm" in name:
        return "norm"
    if "shared_expert" in name:
        return "shared"
    return "router" if name.endswith((".gate.weight", ".router.weight")) else "dense"


def _heads(text: Any) -> Heads:
    queries = text.num_attention_heads
    if latent := getattr(text, "kv_lora_rank", None):
        rope = text.qk_rope_head_dim
        return Heads(queries, queries, text.qk_nope_head_dim + rope, text.v_head_dim, latent + rope, latent=True)
    width = getattr(text, "head_dim", None) or text.hidden_size // queries
    keys = text.num_key_value_heads
    return Heads(queries, keys, width, width, 2 * keys * width, latent=False)


def _mixture(text: Any, weights: list[tuple[int | None, Weight]]) -> Mixture | None:
    downs = [weight for _, weight in weights if weight.role == "expert" and weight.name.endswith("down_proj")]
    if not downs:
        return None
    experts, _, width = downs[0].shape
    return Mixture(experts, text.num_experts_per_tok, width)
