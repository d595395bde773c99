"""Adapters in PEFT's format, whole, whatever layout they were trained under and will be trained under.

Every expert is written as a module of its own, also where experts share a factor, so that PEFT, vLLM and the torch
backend read the files as theirs. Read under a kind that shares, the copies must be the same to the bit.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anubhav.backends.torch.files.factors import WEIGHTS, Factors, group_of, read_factors
from anubhav.backends.torch.files.peft_config import CONFIG, read_scaling, write_config
from anubhav.backends.torch.files.peft_files import OPTIMIZER
from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.backends.torch.layers.adapters import EXPERTS, attends, fresh_a, modules
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.cluster.sharded.places import Key, Kind, Place, expert_rank, places
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

_ROOT = "base_model.model."
_EXPERT_RANK = r"mlp\.experts\.\d+\.(gate|up|down)_proj"
_MOMENTS: Mapping[str, tuple[str, ...]] = {"": (), "adamw": ("first", "second"), "dimuon": ("first",)}
_OWN = "Load it without its optimizer."


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole adapter, or a whole set of moments, by place."""

    spec: LoraSpec
    factors: Mapping[Key, tuple[Tensor, Tensor]]

    def each(self, config: ModelConfig, kind: Kind) -> Iterator[tuple[Place, Tensor, Tensor]]:
        for place in places(config, self.spec, kind):
            yield place, *self.factors[place.key]


@dataclass(frozen=True, slots=True)
class Saved:
    weights: Whole
    moments: Mapping[str, Whole] = field(default_factory=dict[str, Whole])
    """first and second."""
    steps: int = 0
    family: str = ""


def write(config: ModelConfig, kind: Kind, saved: Saved, folder: Path, *, optimizer: bool) -> None:
    """Into an existing folder."""
    spec = saved.weights.spec
    tensors = dict(_named(config, kind, saved.weights))
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    write_config(config, spec, folder)
    if kind == "normalised":
        raw = json.loads((folder / CONFIG).read_text())
        raw["rank_pattern"] = {_EXPERT_RANK: expert_rank(config, spec.rank, kind)}
        (folder / CONFIG).write_text(json.dumps(raw, indent=2))
    if optimizer:
        moments = {
            f"{name}.{key}": value
            for name, whole in saved.moments.items()
            for key, value in _named(config, kind, whole)
        }
        write_tensors(folder / OPTIMIZER, moments, {"steps": str(saved.steps), "family": saved.family})


def read(config: ModelConfig, kind: Kind, folder: Path) -> Saved:
    """Raises BadInput, naming the tensor or the option, for what does not fit the base model or this kind."""
    scaling = read_scaling(folder)
    factors = read_factors(config, folder)
    spec = _spec(config, kind, factors)
    generator = torch.Generator().manual_seed(spec.seed)
    whole: dict[Key, tuple[Tensor, Tensor]] = {}
    for place in places(config, spec, kind):
        parts: list[tuple[Tensor, Tensor]] = []
        for key in _members(config, place):
            found = factors.get(key)
            fold = scaling.fold(found.named, found.rank, place.rank) if found else 1.0
            parts.append(_pad(place, found, fold, generator))
        whole[place.key] = _joined(config, place, parts)
    weights = Whole(spec, whole)
    return _with_moments(config, kind, weights, folder)


def _spec(config: ModelConfig, kind: Kind, factors: Mapping[Key, Factors]) -> LoraSpec:
    groups = {key: group_of(config, *key) for key in factors}
    plain = [len(found.a_RI) for key, found in factors.items() if groups[key] not in EXPERTS]
    inner = [len(found.a_RI) for key, found in factors.items() if groups[key] in EXPERTS]
    each = config.mixture.each if config.mixture and kind == "normalised" else 1
    rank = max([*plain, *(count * each for count in inner)])
    if kind == "normalised" and plain and inner and max(inner) * each > max(plain):
        raise BadInput(
            f"Its experts have rank {max(inner)}; normalised to {each} experts a token they have at most "
            f"{max(plain) // each}",
            hint="Load it where every expert has the full rank.",
        )
    names = set(groups.values())
    return LoraSpec(
        rank=rank,
        train_attn=any(attends(config, group) for group in names),
        train_mlp=any(group != "head" and not attends(config, group) for group in names),
        train_unembed="head" in names,
    )


def _members(config: ModelConfig, place: Place) -> list[Key]:
    """The modules of a place, as files name them."""
    if place.copies is None:
        return [place.key]
    return [(place.key[0], module) for module in modules(config, place.key[1])]


def _pad(place: Place, found: Factors | None, fold: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Factors of the place's rank: what lacks gets a fresh A and a zero B, which adds nothing and may learn."""
    if found is None:
        found = Factors(torch.empty(0, place.inputs), torch.empty(place.outputs, 0))
    lack = place.rank - len(found.a_RI)
    b_OR = found.b_OR if fold == 1.0 else found.b_OR * fold
    if not lack:
        return found.a_RI, b_OR
    return (
        torch.cat([found.a_RI, fresh_a(lack, place.inputs, generator)]),
        torch.cat([b_OR, torch.zeros(place.outputs, lack)], 1),
    )


def _joined(config: ModelConfig, place: Place, parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    if place.copies is None:
        return parts[0]
    a, b = (
        _stacked(config, place, half, [pair[half] for pair in parts], count) for half, count in enumerate(place.copies)
    )
    return a, b


def _stacked(config: ModelConfig, place: Place, half: int, parts: list[Tensor], count: int) -> Tensor:
    if count > 1 or len(parts) == 1:
        return torch.stack(parts)
    if any(not torch.equal(part, parts[0]) for part in parts):
        name = config.module_name(place.key[0], place.key[1])
        raise BadInput(
            f"The experts of {name} have an {'AB'[half]} each, and here they share one",
            hint="Load it where every expert has its own (per_expert).",
        )
    return parts[0][None]


def _named(config: ModelConfig, kind: Kind, whole: Whole) -> Iterator[tuple[str, Tensor]]:
    for place, a, b in whole.each(config, kind):
        for number, key in enumerate(_members(config, place)):
            for half, factor in (("A", a), ("B", b)):
                one = factor if place.copies is None else factor[number if len(factor) > 1 else 0]
                yield _name(config, key, half), one


def _name(config: ModelConfig, key: Key, half: str) -> str:
    return f"{_ROOT}{config.module_name(*key)}.lora_{half}.weight"


def _with_moments(config: ModelConfig, kind: Kind, weights: Whole, folder: Path) -> Saved:
    if not (folder / OPTIMIZER).exists():
        return Saved(weights)
    try:
        with safe_open(folder / OPTIMIZER, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts: dict[str, str] = file.metadata()
    except (OSError, SafetensorError) as problem:
        raise BadInput(f"The adapter has no readable {OPTIMIZER}", hint=_OWN) from problem
    family = facts.get("family", "adamw")
    if family not in _MOMENTS:
        raise BadInput(f"The saved optimizer {family[:50]!r} is unknown", hint=_OWN)
    moments = {
        name: Whole(weights.spec, dict(_read_moments(config, kind, weights.spec, tensors, name)))
        for name in _MOMENTS[family]
    }
    return Saved(weights, moments, int(facts["steps"]), family)


def _read_moments(
    config: ModelConfig, kind: Kind, spec: LoraSpec, tensors: Mapping[str, Tensor], which: str
) -> Iterator[tuple[Key, tuple[Tensor, Tensor]]]:
    for place in places(config, spec, kind):
        shapes = ((place.rank, place.inputs), (place.outputs, place.rank))
        parts: list[tuple[Tensor, Tensor]] = []
        for key in _members(config, place):
            names = [f"{which}.{_name(config, key, half)}" for half in "AB"]
            a, b = (_take(tensors, name, shape) for name, shape in zip(names, shapes, strict=True))
            parts.append((a, b))
        yield place.key, _joined(config, place, parts)


def _take(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, int]) -> Tensor:
    found = tensors.get(name)
    if found is None or tuple(found.shape) != shape:
        raise BadInput(f"The saved optimizer has nothing that fits {name}", hint=_OWN)
    return found


def blended(config: ModelConfig, kind: Kind, parts: list[tuple[Whole, float]]) -> Whole:
    """The exact sum of adapters, each times its number: factors side by side, so its rank is the sum of theirs.

    Σ c (32 / r) B A = (32 / Σ r) [c (Σ r / r) B …] [A …], at each place.
    """
    specs = [whole.spec for whole, _ in parts]
    spec = LoraSpec(
        rank=sum(one.rank for one in specs),
        train_attn=any(one.train_attn for one in specs),
        train_mlp=any(one.train_mlp for one in specs),
        train_unembed=any(one.train_unembed for one in specs),
    )
    generator = torch.Generator().manual_seed(spec.seed)
    found: dict[Key, tuple[Tensor, Tensor]] = {}
    for place in places(config, spec, kind):
        halves: list[tuple[Tensor, Tensor]] = []
        for whole, share in parts:
            a, b = whole.factors.get(place.key) or _nothing(place, whole.spec, spec, generator)
            halves.append((a, b * (share * place.rank / a.shape[-2])))
        found[place.key] = torch.cat([a for a, _ in halves], -2), torch.cat([b for _, b in halves], -1)
    return Whole(spec, found)


def _nothing(place: Place, own: LoraSpec, sum_of: LoraSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What an adapter of spec `own` adds where it does not stand: a fresh A, a zero B."""
    rank = place.rank * own.rank // sum_of.rank
    a_shape, b_shape = place.shapes
    a = fresh_a(rank * (a_shape[0] if place.copies else 1), place.inputs, generator)
    return a.view(*a_shape[:-2], rank, place.inputs), torch.zeros(*b_shape[:-1], rank)
