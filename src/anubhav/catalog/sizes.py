"""Sizes: how many parameters a model folder holds and how wide they are, from the headers of its files alone."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Size:
    parameters: int
    hidden: int
    """0 where the configuration names none."""
    family: str


def size_of(folder: Path) -> Size:
    """Of a folder that `inspect` found to be a model. Tensors that are stored once count once."""
    config: Mapping[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text: Mapping[str, Any] = config.get("text_config") or config
    hidden = next((int(text[name]) for name in ("hidden_size", "n_embd", "d_model") if text.get(name)), 0)
    family = next(iter(config.get("architectures") or ()), "")
    return Size(sum(_count(weights) for weights in sorted(folder.glob("*.safetensors"))), hidden, str(family))


def _count(weights: Path) -> int:
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = [cast(Mapping[str, Any], one) for name, one in header.items() if name != "__metadata__"]
    return sum(math.prod(one["shape"]) for one in tensors)
