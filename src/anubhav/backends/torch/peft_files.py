"""Adapters on disk, in PEFT's format, so that PEFT, vLLM and llama.cpp's converters read them as their own.

Beside PEFT's two files an optimizer.safetensors holds the optimizer's moments under the same names. Only safetensors
is ever read or written.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from anubhav.backends.torch.adapters import GROUPS, Adapter, Pair, Site, fuse, sites, split, widths
from anubhav.backends.torch.config import ModelConfig
from anubhav.backends.torch.optimizer import Moments
from anubhav.backends.torch.tensor_file import write_tensors
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

WEIGHTS, CONFIG, OPTIMIZER = "adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"


def write_adapter(config: ModelConfig, adapter: Adapter, folder: Path, moments: Moments | None) -> None:
    """Write the adapter, and the optimizer when `moments` are given, into an existing folder."""
    _write(folder / WEIGHTS, dict(named_tensors(config, adapter, adapter.parameters())), {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(_peft_config(adapter.spec), indent=2))
    if moments:
        tensors = {
            f"{kind}.{name}": value
            for kind, values in (("first", moments.first), ("second", moments.second))
            if values
            for name, value in named_tensors(config, adapter, values)
        }
        _write(folder / OPTIMIZER, tensors, {"steps": str(moments.steps), "family": moments.family})


def read_adapter(config: ModelConfig, folder: Path, device: torch.device) -> tuple[Adapter, Moments | None]:
    """Raises BadInput, naming the tensor, when the files do not fit the base model."""
    spec = read_spec(folder)
    with safe_open(folder / WEIGHTS, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
    adapter = Adapter(spec, dict(_assemble(config, spec, tensors, "", device)))
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


def read_spec(folder: Path) -> LoraSpec:
    """The shape of an adapter from its adapter_config.json."""
    raw = json.loads((folder / CONFIG).read_text())
    modules = set(raw["target_modules"])
    return LoraSpec(
        rank=int(raw["r"]),
        alpha=float(raw["lora_alpha"]),
        train_attn="q_proj" in modules,
        train_mlp="gate_proj" in modules,
        train_unembed="lm_head" in modules,
    )


def _peft_config(spec: LoraSpec) -> dict[str, object]:
    groups = (("qkv", "o") if spec.train_attn else ()) + (("gate_up", "down") if spec.train_mlp else ())
    groups += ("head",) if spec.train_unembed else ()
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [module.split(".")[-1] for group in groups for module in GROUPS[group]],
    }


def _prefix(config: ModelConfig, site: Site, module: str) -> str:
    inner = module if site[0] == config.layers else f"model.layers.{site[0]}.{module}"
    return f"base_model.model.{inner}"


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
        for module, width in zip(GROUPS[site[1]], outputs, strict=True):
            name = kind + _prefix(config, site, module)
            a_parts.append(_take(tensors, f"{name}.lora_A.weight", (spec.rank, inputs)))
            b_parts.append(_take(tensors, f"{name}.lora_B.weight", (width, spec.rank)))
        yield site, fuse(spec.rank, torch.cat(a_parts), b_parts, device)


def _take(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, int]) -> Tensor:
    if name not in tensors or tuple(tensors[name].shape) != shape:
        found = tuple(tensors[name].shape) if name in tensors else "nothing"
        raise BadInput(
            f"The adapter has {found} at {name}, the base model needs {shape}", hint="Use its own base model."
        )
    return tensors[name]


def _write(file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    write_tensors(file, {name: value.detach().float() for name, value in tensors.items()}, metadata)
