"""Adapters on disk, in PEFT's format, so that PEFT, vLLM and llama.cpp's converters read them as their own.

Beside PEFT's two files an optimizer.safetensors holds the optimizer's moments under the same names. Only safetensors
is ever read or written. An adapter that PEFT trained elsewhere is read too and brought to our form: alpha 32, one rank,
whole groups of modules, with the same effect. docs/lora.md has the conventions.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anubhav.backends.torch.files.peft_config import Scaling, read_scaling, write_config
from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.backends.torch.layers.adapters import (
    EXPERTS,
    Adapter,
    Pair,
    Site,
    attends,
    fresh_a,
    fuse,
    groups_of,
    modules,
    sites,
    split,
    widths,
)
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.training.optimizer import Moments
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

WEIGHTS, OPTIMIZER = "adapter_model.safetensors", "optimizer.safetensors"
_NAME = re.compile(r"base_model\.model\.([\w.]{1,200})\.lora_([AB])\.weight")
"""PEFT's names of the factors."""
_IN_LAYER = re.compile(r"\.(\d{1,4})\.([\w.]+)")
_TINKER_HEAD = "model.unembed_tokens"
"""What Tinker's own exports call the unembedding."""
_STACKS = {"mlp.experts.w1": "experts_gate", "mlp.experts.w2": "experts_down", "mlp.experts.w3": "experts_up"}
"""Tinker's names of what all experts of a layer have, in three dimensions; what they share is there once."""
_ROOT = "base_model.model."
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_REPEAT = "Save it again with PEFT's save_pretrained, safe_serialization on."


def write_adapter(config: ModelConfig, adapter: Adapter, folder: Path, moments: Moments | None) -> None:
    """Write the adapter, and the optimizer when `moments` are given, into an existing folder."""
    _write(folder / WEIGHTS, dict(named_tensors(config, adapter, adapter.parameters())), {"format": "pt"})
    write_config(config, adapter.spec, folder)
    if moments:
        tensors = {
            f"{kind}.{name}": value
            for kind, values in (("first", moments.first), ("second", moments.second))
            if values
            for name, value in named_tensors(config, adapter, values)
        }
        _write(folder / OPTIMIZER, tensors, {"steps": str(moments.steps), "family": moments.family})


def read_adapter(config: ModelConfig, folder: Path, device: torch.device) -> tuple[Adapter, Moments | None]:
    """Raises BadInput, naming the tensor or the option, when the files do not fit the base model or our form.

    Of a group of which only some modules (or some of the rank) are there, the rest gets a fresh A and a zero B: it adds
    nothing now, and learns with the others later.
    """
    scaling = read_scaling(folder)
    factors = read_factors(config, folder)
    groups = {"head" if layer == config.layers else _groups(config, layer)[module] for layer, module in factors}
    spec = LoraSpec(
        rank=max(len(found.a_RI) for found in factors.values()),
        train_attn=any(attends(config, group) for group in groups),
        train_mlp=any(group != "head" and not attends(config, group) for group in groups),
        train_unembed="head" in groups,
    )
    adapter = Adapter(spec, dict(_join(config, spec, factors, scaling, device)))
    if not (folder / OPTIMIZER).exists():
        return adapter, None
    with safe_open(folder / OPTIMIZER, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        facts = file.metadata()
    family = facts.get("family", "adamw")  # files of the time when there was no other
    kinds = {"": (), "adamw": ("first.", "second."), "dimuon": ("first.",)}
    if family not in kinds:
        raise BadInput(f"The saved optimizer {family[:50]!r} is unknown", hint="Load it without its optimizer.")
    found = [
        [part.detach() for _, pair in _assemble(config, spec, tensors, kind, device) for part in (pair.a_RI, pair.b_OR)]
        for kind in kinds[family]
    ]
    return adapter, Moments(*found, steps=int(facts["steps"]), family=family)


@dataclass(frozen=True, slots=True)
class Factors:
    a_RI: Tensor
    b_OR: Tensor


def read_factors(config: ModelConfig, folder: Path) -> dict[tuple[int, str], Factors]:
    """The pairs of a file by layer and module, each of the right shape."""
    halves: dict[tuple[int, str], dict[str, Tensor]] = {}
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            for name in file.keys():  # noqa: SIM118 - not a mapping
                layer, module, half = _place(config, name)
                tensor: Tensor = file.get_tensor(name)
                if tensor.dtype not in _FLOATS or tensor.dim() != (3 if module in _STACKS else 2):
                    raise BadInput(f"{name} is no matrix of 16- or 32-bit floats", hint=_REPEAT)
                for part, matrix in _spread(config, module, tensor):
                    if half in halves.setdefault((layer, part), {}):
                        raise BadInput(f"{name[:200]} is there under two names", hint=_REPEAT)
                    halves[layer, part][half] = matrix.float()
    except (OSError, SafetensorError) as problem:
        raise BadInput(f"The adapter has no readable {WEIGHTS}", hint=_REPEAT) from problem
    if not halves:
        raise BadInput("The adapter has no LoRA factors", hint=_REPEAT)
    return {place: _fit(config, place, found) for place, found in halves.items()}


def _place(config: ModelConfig, name: str) -> tuple[int, str, str]:
    """Layer, module, and A or B."""
    found = _NAME.fullmatch(name)
    whole, half = found.groups() if found else ("", "")
    if whole in (config.head_name, _TINKER_HEAD):
        return config.layers, config.head_name, half
    root = config.layers_name
    inner = _IN_LAYER.fullmatch(whole.removeprefix(root)) if whole.startswith(root) else None
    layer, module = inner.groups() if inner else ("", "")
    known = _groups(config, int(layer)) if layer and int(layer) < config.layers else {}
    stacked = module in _STACKS and _STACKS[module] in known.values()
    if module not in known and not stacked:
        kinds = dict.fromkeys(re.sub(r"\d+", "*", module) for module in _groups(config, config.layers - 1))
        known_ones = ", ".join([*kinds, config.head_name])
        raise BadInput(
            f"The adapter holds {name[:200]}, which is no LoRA factor of a linear layer of this model",
            hint=f"Train the linear layers alone ({known_ones}); PEFT's save_pretrained leaves whole "
            "embeddings out with save_embedding_layers=False.",
        )
    return int(layer), module, half


def _spread(config: ModelConfig, module: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The (module, matrix) of each expert in one of Tinker's stacks; anything else is itself."""
    if module not in _STACKS:
        yield module, tensor
        return
    parts = modules(config, _STACKS[module])
    if len(tensor) not in (1, len(parts)):
        raise BadInput(f"The adapter is of {len(tensor)} experts, not {len(parts)}", hint="Use its own base model.")
    yield from zip(parts, tensor.expand(len(parts), -1, -1), strict=True)


@functools.cache
def _groups(config: ModelConfig, layer: int) -> Mapping[str, str]:
    """The group of each module of a layer."""
    return {module: group for group in groups_of(config, layer, LoraSpec()) for module in modules(config, group)}


def _fit(config: ModelConfig, place: tuple[int, str], found: Mapping[str, Tensor]) -> Factors:
    layer, module = place
    group = "head" if layer == config.layers else _groups(config, layer)[module]
    inputs, outputs = widths(config, group)
    width = outputs[0 if group in EXPERTS else modules(config, group).index(module)]
    name = _prefix(config, (layer, group), module)
    if any(0 in tensor.shape for tensor in found.values()):
        raise BadInput(f"The adapter has an empty factor at {name}", hint=_REPEAT)
    rank = next(iter(found.values())).shape[0 if "A" in found else 1]
    tensors = {f"{name}.lora_{half}.weight": tensor for half, tensor in found.items()}
    a_RI = _take(tensors, f"{name}.lora_A.weight", (rank, inputs))
    return Factors(a_RI, _take(tensors, f"{name}.lora_B.weight", (width, rank)))


def _join(
    config: ModelConfig,
    spec: LoraSpec,
    factors: Mapping[tuple[int, str], Factors],
    scaling: Scaling,
    device: torch.device,
) -> Iterator[tuple[Site, Pair]]:
    generator = torch.Generator().manual_seed(spec.seed)
    for site in sites(config, spec):
        inputs, outputs = widths(config, site[1])
        a_parts: list[Tensor] = []
        b_parts: list[Tensor] = []
        for module, width in zip(modules(config, site[1]), outputs, strict=True):
            found = factors.get((site[0], module), Factors(torch.empty(0, inputs), torch.empty(width, 0)))
            rank = len(found.a_RI)
            fold = scaling.fold(_prefix(config, site, module).removeprefix(_ROOT), rank, spec.rank) if rank else 1.0
            lack = spec.rank - rank
            a_parts += [found.a_RI, *([fresh_a(lack, inputs, generator)] if lack else [])]
            b_OR = found.b_OR if fold == 1.0 else found.b_OR * fold
            b_parts.append(torch.cat([b_OR, torch.zeros(width, lack)], 1) if lack else b_OR)
        yield site, fuse(site[1], spec.rank, torch.cat(a_parts), b_parts, device)


def _prefix(config: ModelConfig, site: Site, module: str) -> str:
    return f"{_ROOT}{config.module_name(site[0], module)}"


def named_tensors(config: ModelConfig, adapter: Adapter, tensors: list[Tensor]) -> Iterator[tuple[str, Tensor]]:
    """PEFT names for parameter-shaped tensors, which stand A, B, A, B … in the order of the sites."""
    for site, a_RI, b_OR in zip(adapter.pairs, tensors[::2], tensors[1::2], strict=True):
        for module, a, b in split(config, adapter.spec, site[1], a_RI, b_OR):
            yield f"{_prefix(config, site, module)}.lora_A.weight", a
            yield f"{_prefix(config, site, module)}.lora_B.weight", b


def _assemble(
    config: ModelConfig, spec: LoraSpec, tensors: Mapping[str, Tensor], kind: str, device: torch.device
) -> Iterator[tuple[Site, Pair]]:
    for site in sites(config, spec):
        inputs, outputs = widths(config, site[1])
        a_parts: list[Tensor] = []
        b_parts: list[Tensor] = []
        for module, width in zip(modules(config, site[1]), outputs, strict=True):
            name = kind + _prefix(config, site, module)
            a_parts.append(_take(tensors, f"{name}.lora_A.weight", (spec.rank, inputs)))
            b_parts.append(_take(tensors, f"{name}.lora_B.weight", (width, spec.rank)))
        yield site, fuse(site[1], spec.rank, torch.cat(a_parts), b_parts, device)


def _take(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, int]) -> Tensor:
    if name not in tensors or tuple(tensors[name].shape) != shape:
        found = tuple(tensors[name].shape) if name in tensors else "nothing"
        raise BadInput(
            f"The adapter has {found} at {name}, the base model needs {shape}", hint="Use its own base model."
        )
    return tensors[name]


def _write(file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    write_tensors(file, {name: value.detach().float() for name, value in tensors.items()}, metadata)
