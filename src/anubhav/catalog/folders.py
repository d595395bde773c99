"""A model folder: what must lie in it, what is refused, and the manifest that says where it came from."""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from anubhav.errors import BadInput, MissingPart
from anubhav.types.models import Model

ARCHITECTURES = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Gemma3ForCausalLM",
    "DeepseekV3ForCausalLM",
)
"""The families of backends.torch; transformers, where it is installed, computes others."""
_DOUBLE = "AnubhavFake"
"""The test double behind backends/fake: a table instead of a network, so it is not advertised."""
MANIFEST = "anubhav.json"
_MAX_HEADER = 8_000_000
_DECODER = "ForCausalLM"
_CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length")
_STRETCHED = ("dynamic", "longrope", "su")


def inspect(folder: Path, name: str, *, repair: str) -> Model:
    """The model in `folder`. Raises MissingPart with the hint `repair` for a lack, BadInput for what we never load."""
    manifest = read_object(folder / MANIFEST)
    _check_present(folder, manifest, repair)
    config = read_object(folder / "config.json")
    code = config.get("auto_map") or read_object(folder / "tokenizer_config.json").get("auto_map")
    check_config({**config, "auto_map": code})
    for weights in folder.glob("*.safetensors"):
        _check_header(weights)
    return Model(
        name=name,
        folder=folder,
        licence=str(manifest.get("licence", "not stated")),
        source=str(manifest.get("source", "folder")),
        context_length=context_of(config),
        vocab_size=_count(config, "vocab_size"),
    )


def check_config(config: Mapping[str, Any]) -> None:
    """Raises BadInput for a model that brings code of its own or has an architecture we do not implement.

    Whether transformers computes another one as we need it is known when the engine opens it.
    """
    if config.get("auto_map"):
        raise BadInput(
            "This model brings Python code of its own (auto_map), which Anubhav never runs",
            hint="Use a model of a standard architecture.",
        )
    architecture = _architecture(config)
    if architecture in (*ARCHITECTURES, _DOUBLE):
        return
    ours = f"Use one of {', '.join(ARCHITECTURES)}"
    if not architecture.endswith(_DECODER):
        raise BadInput(f"The architecture {architecture} is not implemented", hint=f"{ours}.")
    if find_spec("transformers") is None:
        raise BadInput(
            f"The architecture {architecture} is not implemented",
            hint=f"{ours}; or let transformers compute it, more slowly: pip install 'anubhav[transformers]'.",
        )


def context_of(config: Mapping[str, Any]) -> int:
    """How many positions a model has.

    Of those that turn every token otherwise once a text is longer than they were first trained on, it is that length:
    beyond it what a short text gives would depend on the longest in its batch.
    """
    name = next((name for name in _CONTEXTS if config.get(name)), _CONTEXTS[0])
    whole = _count(config, name)
    rope = _object(config.get("rope_parameters") or config.get("rope_scaling"))
    for options in (rope, *map(_object, rope.values())):  # for all layers, or by their kind
        if options.get("rope_type", options.get("type")) in _STRETCHED:
            first = options.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
            whole = min(whole, first) if isinstance(first, int) and first > 0 else whole
    return whole


def _object(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _architecture(config: Mapping[str, Any]) -> str:
    return str(next(iter(config.get("architectures") or []), "none"))


def write_manifest(folder: Path, source: str, licence: str) -> None:
    """Record the size and hash of every file in `folder`, and make all of it durable."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    files = {name: {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in names}
    (folder / MANIFEST).write_text(
        json.dumps({"source": source, "licence": licence, "files": files}, indent=2) + "\n", encoding="utf-8"
    )
    for path in (*(folder / name for name in names), folder / MANIFEST, folder):
        sync(path)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when there is no file. Raises BadInput when it is no JSON object."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The model's {path.name} is not JSON: {error}", hint="Download the model again.") from error
    if not isinstance(content, dict):
        raise BadInput(f"The model's {path.name} is not a JSON object", hint="Download the model again.")
    return cast(dict[str, Any], content)


def _check_present(folder: Path, manifest: Mapping[str, Any], repair: str) -> None:
    lacks = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
            raise BadInput(
                "This model has pickled weights only, and loading a pickle can run any code",
                hint="Convert the weights to safetensors.",
            )
        lacks.append("*.safetensors")
    for name, entry in dict[str, Any](manifest.get("files", {})).items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != entry["size"]:
            lacks.append(name)
    if lacks:
        raise MissingPart(f"The model folder lacks or has damaged: {', '.join(dict.fromkeys(lacks))}", hint=repair)


def _check_header(path: Path) -> None:
    """A safetensors file begins with its header's length; the loader checks the ranges inside it."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(_MAX_HEADER, path.stat().st_size - 8):
        raise BadInput(f"{path.name} is not a whole safetensors file", hint="Download the model again.")


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise BadInput(f"The model's config.json lacks a positive {key}", hint="Download the model again.")
    return value
