"""adapter_config.json as PEFT writes it, ours and other people's: how strongly each module counts.

Ranks and modules are read from the tensors themselves. An option that plain factors A and B cannot express is refused
by name, and so is one that nobody here has heard of.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from anubhav.backends.torch.layers.adapters import modules, sites
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec

CONFIG = "adapter_config.json"
ALPHA = LoraSpec().alpha
"""What every adapter is brought to when it is read."""
_MAX_BYTES = 1 << 20
# They say how an adapter was made or where it goes, never what it computes.
_HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "eva_config", "exclude_modules", "inference_mode",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "megatron_core",
    "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules",
    "target_parameters", "task_type", "use_rslora",
}  # fmt: skip
# The other ways to begin (PiSSA, OLoRA, LoftQ …) change the base weights, which are not in the file.
_FIXED: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}
_PLAIN = "Train it as plain LoRA, or merge it into its base model and serve that."
_PATTERN = re.compile(r"\^?[A-Za-z0-9_.]{1,200}")
"""PEFT takes any regular expression; one from a stranger could run for ever."""
_ANYWHERE = r".*\."
"""What PEFT itself writes before the name of an expert's parameter."""


@dataclass(frozen=True, slots=True)
class Scaling:
    alpha: float
    alphas: Mapping[str, float]
    """Of modules whose name ends like this (or is this, after a ^); the first that fits counts."""
    rooted: bool
    """Divided by √rank instead of the rank (rsLoRA)."""

    def fold(self, module: str, rank: int, into: int) -> float:
        """By what B is multiplied so that alpha 32 over the rank `into` gives what this file's own scale gives."""
        found = (alpha for key, alpha in self.alphas.items() if _fits(key, module))
        alpha = next(found, self.alpha)
        # In this order it is exactly 1 for our own files.
        return alpha * into / ((math.sqrt(rank) if self.rooted else rank) * ALPHA)


def write_config(model: ModelConfig, spec: LoraSpec, folder: Path) -> None:
    groups = [group for _, group in sites(model, spec)]
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(dict.fromkeys(name for group in groups for name in _targets(model, group))),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2))


def _targets(model: ModelConfig, group: str) -> Iterator[str]:
    """PEFT compares ends of names, and other families call several things by the same last word."""
    for name in modules(model, group):
        yield name if model.foreign else name.split(".")[-1]


def read_scaling(folder: Path) -> Scaling:
    """Raises BadInput for a file that is no LoRA config, and for options that plain factors cannot express."""
    raw = _read(folder / CONFIG)
    for name, allowed in _FIXED.items():
        if name in raw and raw[name] not in (*allowed, None):
            raise BadInput(f"The adapter has {name} {str(raw[name])[:50]!r}, which is not plain LoRA", hint=_PLAIN)
    for name, value in raw.items():
        if value and name not in _HARMLESS and name not in _FIXED:
            raise BadInput(f"The adapter uses {name[:50]}, which is not plain LoRA", hint=_PLAIN)
    patterns: Any = raw.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise BadInput("alpha_pattern is not a table", hint="Save the adapter again with PEFT.")
    given = cast(dict[str, Any], patterns)
    alphas = {key.removeprefix(_ANYWHERE): _number("alpha_pattern", value) for key, value in given.items()}
    for key in alphas:
        if not _PATTERN.fullmatch(key):
            raise BadInput(f"The alpha_pattern {key[:100]!r} is not a module's name", hint="Write names out.")
    return Scaling(_number("lora_alpha", raw.get("lora_alpha", 8)), alphas, bool(raw.get("use_rslora")))


def _fits(key: str, module: str) -> bool:
    if key.startswith("^"):
        return module == key[1:]
    return module == key or module.endswith(f".{key}")


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
        raise BadInput(f"{name} is {str(value)[:50]}, not a positive number", hint="Save the adapter again with PEFT.")
    return float(value)


def _read(file: Path) -> dict[str, Any]:
    damaged = f"The adapter has no readable {CONFIG}"
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{CONFIG} is larger than a megabyte", hint="Save the adapter again with PEFT.")
        found: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise BadInput(damaged, hint="Save the adapter again with PEFT.") from problem
    if not isinstance(found, dict):
        raise BadInput(damaged, hint="Save the adapter again with PEFT.")
    return cast(dict[str, Any], found)
