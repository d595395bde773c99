"""A VllmSampler over the double, which is up in a second."""

import ctypes
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import TensorSpec, serialize_file
from vllm_double import CONTEXT, VOCAB, Saved, Start

from anubhav.backends.vllm.environment import Environment
from anubhav.backends.vllm.launch import Options
from anubhav.backends.vllm.sampler import VllmSampler


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One whose python is the double."""
    made = Environment(tmp_path_factory.mktemp("vllm-double"), "cpu")
    made.python.parent.mkdir()
    double = Path(__file__).with_name("engine_double.py")
    made.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{double}" "$@"\n')
    made.python.chmod(0o755)
    (made.home / "finished").write_text(made.digest)
    return made


@pytest.fixture
def start(environment: Environment, tmp_path: Path) -> Iterator[Start]:
    """Starts one for a model whose config.json says what is given; all are closed in the end."""
    begun: list[VllmSampler] = []

    def begin(options: Options | None = None, **facts: Any) -> VllmSampler:
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        config = {"vocab_size": VOCAB, "max_position_embeddings": CONTEXT, **facts}
        (model / "config.json").write_text(json.dumps(config))
        begun.append(VllmSampler(model, options or Options(rows=4, rank=8, start_seconds=60), environment))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Writes a PEFT folder of one module."""

    def save(name: str, *, module: str = "model.layers.0.self_attn.q_proj", rank: int = 4, **config: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        said = {"peft_type": "LORA", "r": rank, "lora_alpha": 32, "target_modules": ["q_proj"], **config}
        (folder / "adapter_config.json").write_text(json.dumps(said))
        data = name.encode().ljust(rank * 8 * 4, b"\0")
        shapes = {"A": [rank, 8], "B": [8, rank]}
        kept = {half: ctypes.create_string_buffer(data, len(data)) for half in shapes}
        specs = {
            f"base_model.model.{module}.lora_{half}.weight": TensorSpec(
                dtype="float32", shape=shape, data_ptr=ctypes.addressof(kept[half]), data_len=len(data)
            )
            for half, shape in shapes.items()
        }
        serialize_file(specs, folder / "adapter_model.safetensors", {})
        return folder

    return save
