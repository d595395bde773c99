"""The LoRA factors in a file, whoever wrote it: each linear layer's own, out of names and stacks that differ.

PEFT's names are read with `base_model.model.` and without (Megatron-Bridge streams them so, to verl for one). Experts
are modules of their own (transformers 4, vLLM, Megatron-Bridge, ours), or all of a layer are together:

    experts.w1, w3, w2                 (X or 1, R, I) and (X or 1, O, R)   Tinker, SGLang: gate, up, down
    experts.gate_proj, up_, down_      the same; often one half alone      Megatron-Bridge: what experts share
    experts.gate_up_proj, down_proj    the same; gate above up in O        Megatron-Bridge, of transformers' parameters
    experts.base_layer, experts        (X R, I) and (O, R X)               PEFT's wrappers of those parameters

Axes: X experts, R rank, I inputs, O outputs.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anubhav.backends.torch.layers.adapters import EXPERTS, groups_of, modules, widths
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

WEIGHTS = "adapter_model.safetensors"
_NAME = re.compile(r"(?:base_model\.model\.)?([\w.]{1,200})\.lora_([AB])(?:\.default)?\.weight")
_IN_LAYER = re.compile(r"\.(\d{1,4})\.([\w.]+)")
_TINKER_HEAD = "model.unembed_tokens"
"""What Tinker's own exports call the unembedding."""
_INSIDE = "mlp.experts"
_STACKS = {
    f"{_INSIDE}.{name}": group
    for group, names in zip(EXPERTS, (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")), strict=True)
    for name in names
}
_GATE_UP = f"{_INSIDE}.gate_up_proj"
_FLAT = (_INSIDE, f"{_INSIDE}.base_layer")
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_REPEAT = "Save it again with PEFT's save_pretrained, safe_serialization on."
_REASONS = {
    ".adapter.": "These are Megatron's own names: write it with Megatron-Bridge's AutoBridge.save_hf_adapter.",
    ".mlp.gate.": "Routers stay frozen here: leave the router out of its target_modules.",
    "q_b_proj.": "Leave DeepSeek's up projections (Megatron's linear_q_up_proj) out of its target_modules.",
    "kv_b_proj.": "Leave DeepSeek's up projections (Megatron's linear_kv_up_proj) out of its target_modules.",
    "lora_magnitude_vector": "DoRA's magnitudes are not plain LoRA: train it without them.",
}
"""Part of a name → what to do about it."""
_Place = tuple[int, str]
"""(layer, module); the unembedding is (number of layers, its name)."""


@dataclass(frozen=True, slots=True)
class Factors:
    a_RI: Tensor
    b_OR: Tensor
    named: str = ""
    """What the file's own options (alpha_pattern) call the module."""
    rank: int = 0
    """By which the file's alpha is divided: it is larger than that of a_RI where fused factors were taken apart."""


@dataclass(frozen=True, slots=True)
class _Half:
    tensor: Tensor
    named: str
    rank: int


def read_factors(config: ModelConfig, folder: Path) -> dict[_Place, Factors]:
    """The pairs of a file by layer and module, each of the right shape. Raises BadInput naming what is not."""
    halves: dict[_Place, dict[str, _Half]] = {}
    for (layer, module), found in _read(config, folder).items():
        for part, half, matrix in _spread(config, layer, module, found):
            if half in halves.setdefault((layer, part), {}):
                raise BadInput(f"{_full(config, layer, part)} is there under two names", hint=_REPEAT)
            halves[layer, part][half] = matrix
    if not halves:
        raise BadInput("The adapter has no LoRA factors", hint=_REPEAT)
    return {place: _fit(config, place, found) for place, found in halves.items()}


def _read(config: ModelConfig, folder: Path) -> dict[_Place, dict[str, Tensor]]:
    """As they stand in the file, by layer, module (or stack), and A or B."""
    found: dict[_Place, dict[str, Tensor]] = {}
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            for name in file.keys():  # noqa: SIM118 - not a mapping
                layer, module, half = _place(config, name)
                tensor: Tensor = file.get_tensor(name)
                stacked = module in _STACKS or module == _GATE_UP
                if tensor.dtype not in _FLOATS or tensor.dim() != (3 if stacked else 2):
                    raise BadInput(f"{name} is no matrix of 16- or 32-bit floats", hint=_REPEAT)
                if half in found.setdefault((layer, module), {}):
                    raise BadInput(f"{name[:200]} is there under two names", hint=_REPEAT)
                found[layer, module][half] = tensor.float()
    except (OSError, SafetensorError) as problem:
        raise BadInput(f"The adapter has no readable {WEIGHTS}", hint=_REPEAT) from problem
    return found


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
    stacked = module in (*_STACKS, _GATE_UP, *_FLAT) and EXPERTS[0] in known.values()
    if module not in known and not stacked:
        raise BadInput(
            f"The adapter holds {name[:200]}, which is no LoRA factor of a linear layer of this model",
            hint=next((why for part, why in _REASONS.items() if part in name), None) or _trainable(config),
        )
    return int(layer), module, half


def _trainable(config: ModelConfig) -> str:
    kinds = dict.fromkeys(re.sub(r"\d+", "*", module) for module in _groups(config, config.layers - 1))
    return (
        f"Train the linear layers alone ({', '.join([*kinds, config.head_name])}); PEFT's save_pretrained leaves whole "
        "embeddings out with save_embedding_layers=False."
    )


@functools.cache
def _groups(config: ModelConfig, layer: int) -> Mapping[str, str]:
    """The group of each module of a layer."""
    return {module: group for group in groups_of(config, layer, LoraSpec()) for module in modules(config, group)}


def group_of(config: ModelConfig, layer: int, module: str) -> str:
    return "head" if layer == config.layers else _groups(config, layer)[module]


def _full(config: ModelConfig, layer: int, module: str) -> str:
    return config.module_name(layer, module)


def _spread(
    config: ModelConfig, layer: int, module: str, found: Mapping[str, Tensor]
) -> Iterator[tuple[str, str, _Half]]:
    """(module, A or B, matrix) of each expert in a stack; anything else is itself."""
    if module in _STACKS:
        for half, tensor in found.items():
            yield from _each(config, layer, _STACKS[module], half, tensor)
    elif module == _GATE_UP or module in _FLAT:
        yield from _apart(config, layer, module, found)
    else:
        for half, matrix in found.items():
            yield module, half, _Half(matrix, _full(config, layer, module), matrix.shape[0 if half == "A" else 1])


def _each(
    config: ModelConfig, layer: int, group: str, half: str, stack: Tensor, named: str = "", rank: int = 0
) -> Iterator[tuple[str, str, _Half]]:
    parts = modules(config, group)
    if len(stack) not in (1, len(parts)):
        raise BadInput(f"The adapter is of {len(stack)} experts, not {len(parts)}", hint="Use its own base model.")
    rank = rank or stack.shape[1 if half == "A" else 2]
    for part, matrix in zip(parts, stack.expand(len(parts), -1, -1), strict=True):
        yield part, half, _Half(matrix, named or _full(config, layer, part), rank)


def _apart(
    config: ModelConfig, layer: int, module: str, found: Mapping[str, Tensor]
) -> Iterator[tuple[str, str, _Half]]:
    """A parameter of transformers 5, whose factors are stacked or flat: gate and up in one, or down."""
    name = _full(config, layer, module)
    if len(found) != 2:
        raise BadInput(f"The adapter has one factor of {name} and not the other", hint=_REPEAT)
    a_XRI, b_XOR = found["A"], found["B"]
    if module in _FLAT:
        a_XRI, b_XOR = _stacked(config, name, a_XRI, b_XOR)
    inputs, (width, *_) = widths(config, EXPERTS[0])
    rank, shape = a_XRI.shape[1], (a_XRI.shape[2], b_XOR.shape[1])
    if shape == (width, inputs) and module in _FLAT:
        named = _full(config, layer, f"{_INSIDE}.down_proj")
        for half, stack in (("A", a_XRI), ("B", b_XOR)):
            yield from _each(config, layer, EXPERTS[2], half, stack, named, rank)
        return
    if shape != (inputs, 2 * width) or b_XOR.shape[2] != rank:
        raise BadInput(
            f"The factors of {name} are {tuple(a_XRI.shape)} and {tuple(b_XOR.shape)}, which fits neither the gate and "
            f"up ({inputs} to 2 · {width}) nor the down projection ({width} to {inputs}) of this model's experts",
            hint="Use its own base model, and PEFT 0.19 or newer: others turn inputs and outputs round.",
        )
    for group, a, b in _gate_and_up(a_XRI, b_XOR):
        for half, stack in (("A", a), ("B", b)):
            yield from _each(config, layer, group, half, stack, _full(config, layer, _GATE_UP), rank)


def _stacked(config: ModelConfig, name: str, a_flat: Tensor, b_flat: Tensor) -> tuple[Tensor, Tensor]:
    """PEFT has an expert's rows of A beside each other, and its columns of B a number of experts apart."""
    experts = len(modules(config, EXPERTS[0]))
    if len(a_flat) != b_flat.shape[1] or not len(a_flat) or len(a_flat) % experts:
        raise BadInput(f"{name} has factors of no {experts} experts", hint="Use its own base model.")
    return a_flat.view(experts, -1, a_flat.shape[1]), b_flat.view(len(b_flat), -1, experts).permute(2, 0, 1)


def _gate_and_up(a_XRI: Tensor, b_XOR: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(group, A, B) of both. Where each has half of the rank to itself, as PEFT fuses two, it gets that half back."""
    (gate_XOR, up_XOR), half = b_XOR.chunk(2, 1), a_XRI.shape[1] // 2
    if a_XRI.shape[1] == 2 * half and not gate_XOR[..., half:].any() and not up_XOR[..., :half].any():
        yield EXPERTS[0], a_XRI[:, :half], gate_XOR[..., :half]
        yield EXPERTS[1], a_XRI[:, half:], up_XOR[..., half:]
    else:
        yield EXPERTS[0], a_XRI, gate_XOR
        yield EXPERTS[1], a_XRI, up_XOR


def _fit(config: ModelConfig, place: _Place, found: Mapping[str, _Half]) -> Factors:
    layer, module = place
    group = group_of(config, layer, module)
    inputs, outputs = widths(config, group)
    width = outputs[0 if group in EXPERTS else modules(config, group).index(module)]
    name = _full(config, layer, module)
    if any(0 in half.tensor.shape for half in found.values()):
        raise BadInput(f"The adapter has an empty factor at {name}", hint=_REPEAT)
    rank = found["A"].tensor.shape[0] if "A" in found else found["B"].tensor.shape[1]
    shapes = {"A": (rank, inputs), "B": (width, rank)}
    for half, shape in shapes.items():
        there = tuple(found[half].tensor.shape) if half in found else "nothing"
        if there != shape:
            raise BadInput(
                f"The adapter has {there} at {name}.lora_{half}, the base model needs {shape}",
                hint="Use its own base model.",
            )
    return Factors(found["A"].tensor, found["B"].tensor, found["B"].named, found["B"].rank)
