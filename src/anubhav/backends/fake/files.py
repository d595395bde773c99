"""The table's adapters on disk: the same file names as real ones, safetensors, float64 so that nothing is rounded."""

import array
import json
from pathlib import Path
from typing import Any, cast

from safetensors import TensorSpec, deserialize, serialize_file  # pyright: ignore[reportUnknownVariableType]

from anubhav.backends.fake.table import Rows
from anubhav.types.training import LoraSpec

WEIGHTS, CONFIG, OPTIMIZER = "adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"
_CODES = {"I64": "q", "F64": "d"}


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


def write_tables(file: Path, tables: dict[str, Rows], steps: int = 0) -> None:
    """Equal tables give equal files."""
    buffers: dict[str, array.array[Any]] = {"steps": array.array("q", [steps])}
    for name, rows in tables.items():
        contexts, tokens, values = array.array("q"), array.array("q"), array.array("d")
        for context in sorted(rows):
            row = rows[context]
            order = sorted(row)
            contexts.extend([context] * len(row))
            tokens.extend(order)
            values.extend([row[token] for token in order])
        buffers |= {f"{name}.contexts": contexts, f"{name}.tokens": tokens, f"{name}.values": values}
    # The buffers must outlive the call: a TensorSpec holds only their address.
    specs = {
        name: TensorSpec(
            dtype="float64" if buffer.typecode == "d" else "int64",
            shape=[len(buffer)],
            data_ptr=buffer.buffer_info()[0],
            data_len=len(buffer) * buffer.itemsize,
        )
        for name, buffer in buffers.items()
    }
    serialize_file(specs, file)


def read_tables(file: Path) -> tuple[dict[str, Rows], int]:
    found = cast(list[tuple[str, dict[str, Any]]], deserialize(file.read_bytes()))
    columns: dict[str, list[Any]] = {}
    for name, tensor in found:
        values: array.array[Any] = array.array(_CODES[tensor["dtype"]])
        values.frombytes(bytes(tensor["data"]))
        columns[name] = values.tolist()
    steps: int = columns.pop("steps")[0]
    tables: dict[str, Rows] = {name.removesuffix(".values"): {} for name in columns if name.endswith(".values")}
    for name, rows in tables.items():
        parts = (columns[f"{name}.{part}"] for part in ("contexts", "tokens", "values"))
        for context, token, value in zip(*parts, strict=True):
            rows.setdefault(context, {})[token] = value
    return tables, steps
