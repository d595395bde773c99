"""Adapters on disk, in PEFT's format, so that PEFT, vLLM and llama.cpp's converters read them as their own.

Beside PEFT's two files an optimizer.safetensors holds the optimizer's moments under the same names. Only safetensors
is ever read or written. An adapter that was trained elsewhere is read too and brought to our form: alpha 32, one rank,
whole groups of modules, with the same effect. docs/lora.md has the conventions.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from anubhav.backends.torch.files.factors import WEIGHTS, Factors, group_of, read_factors
from anubhav.backends.torch.files.peft_config import Scaling, read_scaling, write_config
from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.backends.torch.layers.adapters import (
    Adapter,
    Pair,
    Site,
    attends,
    fresh_a,
    fuse,
    modules,
    sites,
    split,
    widths,
)
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.training.optimizer import Moments
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

OPTIMIZER = "optimizer.safetensors"
_ROOT = "base_model.model."


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
    groups = {group_of(config, *place) for place in factors}
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
            fold = scaling.fold(found.named, found.rank, spec.rank) if rank else 1.0
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
