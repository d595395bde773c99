"""The table's adapters on disk: the same file names as real ones, safetensors, float64 so that nothing is rounded."""

import array
import json
from pathlib import Path
from typing import Any, cast

from safetensors import TensorSpec, deserialize, serialize_file  # pyright: ignore[reportUnknownVariableType]

from anubhav.backends.fake.table import Rows
from anubhav.types.training import LoraSpec

WEIGHTS, CONFIG, OPTIMIZER = "adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"


def write_spec(folder: Path, spec: LoraSpec) -> None:
    groups = ("q_proj",) * spec.train_attn + ("gate_proj",) * spec.train_mlp + ("lm_head",) * spec.train_unembed
    config = {"peft_type": "LORA", "r": spec.rank, "lora_alpha": spec.alpha, "target_modules": groups}
    (folder / CONFIG).write_text(json.dumps(config))


def read_spec(folder: Path) -> LoraSpec:
    raw = json.loads((folder / CONFIG).read_text())
    modules = raw["target_modules"]
    return LoraSpec(
        rank=raw["r"],
        alpha=raw["lora_alpha"],
        train_attn="q_proj" in modules,
        train_mlp="gate_proj" in modules,
        train_unembed="lm_head" in modules,
    )


def write_rows(file: Path, rows: Rows) -> None:
    buffers = {name: array.array("d", row) for name, row in sorted(rows.items())}
    # The buffers must outlive the call: a TensorSpec holds only their address.
    specs = {
        name: TensorSpec(
            dtype="float64",
            shape=[len(buffer)],
            data_ptr=buffer.buffer_info()[0],
            data_len=len(buffer) * buffer.itemsize,
        )
        for name, buffer in buffers.items()
    }
    serialize_file(specs, file)


def read_rows(file: Path) -> Rows:
    rows: Rows = {}
    found = cast(list[tuple[str, dict[str, Any]]], deserialize(file.read_bytes()))
    for name, tensor in found:
        values = array.array("d")
        values.frombytes(bytes(tensor["data"]))
        rows[name] = values.tolist()
    return rows
