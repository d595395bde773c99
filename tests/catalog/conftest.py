"""What small GGUF files hold, model folders, and the real SmolLM2 (pulled into the data folder the first time)."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from anubhav.catalog.library import Library
from anubhav.types.models import Model

SAFETENSORS = struct.pack("<Q", 2) + b"{}"


@pytest.fixture
def tiny_metadata() -> dict[str, Any]:
    """A byte-level vocabulary: three control tokens, the 256 bytes as GPT-2 writes them, and a few merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + at) for at in range(len(others))]
    merges = ["h e", "l l", "he ll", "hell o", "1 2", "12 3", "123 4", "Ġ Ġ"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, *(merge.replace(" ", "") for merge in merges)]
    return {
        "general.architecture": "llama",
        "llama.context_length": 64,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(tokens) - 3),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}",
    }


@pytest.fixture
def convert() -> Callable[[Path, Path], None]:
    """Stands where the engine's converter stands: it writes a config and an empty weights file."""

    def write(gguf: Path, folder: Path) -> None:
        assert gguf.read_bytes().startswith(b"GGUF")
        config = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 64, "vocab_size": 267}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(SAFETENSORS)

    return write


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    config = {"architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 128, "vocab_size": 10}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(SAFETENSORS)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Model:
    from anubhav.backends.torch.files.convert import convert_gguf

    data = Path(os.environ.get("ANUBHAV_DATA_DIR") or platformdirs.user_data_dir("anubhav"))
    return Library(data / "models").pull("smollm2-135m-instruct", convert_gguf, print)
