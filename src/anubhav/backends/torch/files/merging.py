"""An adapter merged into its base: a whole model folder in Hugging Face's layout, which needs no LoRA to be served.

The sum W + (alpha / rank) B A is computed in fp32 and rounded once, to the base's own dtype. File by file, so that no
more than one of the base's files is in memory; a model that transformers computes is in memory as a whole.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from anubhav.backends.torch.files.peft_files import read_adapter
from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.backends.torch.layers.adapters import Adapter, split
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.opening import read_shape
from anubhav.errors import MissingPart

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_INDEX = "model.safetensors.index.json"
_KEPT = ("*.json", "*.jinja", "*.txt", "tokenizer.model", "LICENSE*", "NOTICE*")
_OWN = (_INDEX, "config.json", "anubhav.json")
"""Not copied: written anew, or (the manifest) no longer true."""

Factors = tuple[Tensor, Tensor]


def write_merged(adapter: Path, base: Path, to: Path) -> None:
    """Fill the folder `to`. A tied unembedding that was trained is untied: it becomes a matrix of its own."""
    config = read_shape(base)
    found, _ = read_adapter(config, adapter, torch.device("cpu"))
    untied = config.tied and found.spec.train_unembed
    if config.foreign:
        # Imported here: transformers takes seconds, and only other families need it.
        from anubhav.backends.torch.models.foreign_merging import save_merged

        save_merged(base, to, _factors(config, found), found.scale, untied=untied)
    else:
        _write_own(base, to, _factors(config, found), found.scale, untied=untied)
    for pattern in _KEPT:
        for kept in base.glob(pattern):
            if kept.is_file() and kept.name not in _OWN:
                shutil.copyfile(kept, to / kept.name)


def _write_own(base: Path, to: Path, factors: Mapping[str, Factors], scale: float, *, untied: bool) -> None:
    """The weights and the config, in the base's own shards."""
    where: dict[str, str] = {}
    size = 0
    for file in sorted(base.glob("*.safetensors")):
        tensors = _merge(file, factors, scale, untied=untied)
        write_tensors(to / file.name, tensors, {"format": "pt"})
        where |= dict.fromkeys(tensors, file.name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if lacks := factors.keys() - where.keys():
        raise MissingPart(f"The model's files lack the tensor {min(lacks)}", hint="Pull the model again.")
    if len(set(where.values())) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}
        (to / _INDEX).write_text(json.dumps(index, indent=2))
    raw: dict[str, Any] = json.loads((base / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(raw | ({"tie_word_embeddings": False} if untied else {}), indent=2))


def _factors(config: ModelConfig, adapter: Adapter) -> dict[str, Factors]:
    """By the name of the weight they add to."""
    return {
        f"{config.module_name(layer, module)}.weight": (a, b)
        for (layer, group), pair in adapter.pairs.items()
        for module, a, b in split(config, adapter.spec, group, pair.a_RI.detach(), pair.b_OR.detach())
    }


def _merge(file: Path, factors: Mapping[str, Factors], scale: float, *, untied: bool) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as stream:  # pyright: ignore[reportUnknownVariableType]
        tensors: dict[str, Tensor] = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
    if untied:
        # Some folders store a copy under the head's name, which a tied model never reads.
        tensors.pop(_HEAD, None)
        if _EMBEDDING in tensors:
            tensors[_HEAD] = tensors[_EMBEDDING]
    for name in tensors.keys() & factors.keys():
        a, b = factors[name]
        tensors[name] = tensors[name].float().addmm(b, a, alpha=scale).to(tensors[name].dtype)
    return tensors
