import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from anubhav.catalog.folders import sha256
from anubhav.catalog.tokenizer import write_tokenizer
from anubhav.errors import BadInput
from anubhav.types.models import Model

# Published with the original repository (HuggingFaceTB/SmolLM2-135M-Instruct, revision 12fd25f).
ORIGINAL = {
    "tokenizer.json": "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
    "special_tokens_map.json": "2b7379f3ae813529281a5c602bc5a11c1d4e0a99107aaa597fe936c1e813ca52",
}
# Ids of the original tokenizer, as others have published them.
KNOWN_IDS = {
    "Hello world": [19556, 905],
    "The year 2024 had 365 days; 12 months.": [
        *(504, 713, 216, 34, 32, 34, 36, 761, 216, 35, 38, 37, 2009, 43, 216, 33, 34, 2704, 30)
    ],
    "'s 't 're 've 'm 'll 'd": [506, 637, 100, 637, 257, 637, 307, 637, 93, 637, 764, 637, 84],
    "  leading and   multiple   spaces  ": [216, 2899, 284, 256, 2701, 256, 5600, 256],
    "Tab\there\nNewline\n\nDouble": [30064, 197, 1531, 198, 5529, 1311, 198, 198, 33743],
    "Hello, \u4e16\u754c!": [19556, 28, 216, 7906, 240, 178, 239, 230, 17],
    "Gr\u00fc\u00dfe, caf\u00e9!": [27302, 7170, 34878, 85, 28, 37366, 17],
}
TEXT = "I'm 1234  IT'S\n\n x\u0661\u0662"
SPLITS = {
    "gpt-2": ["I", "'m", " 1234", " ", " IT", "'", "S", "\n\n", " x", "\u0661\u0662"],
    "smollm": ["I", "'m", " ", "1", "2", "3", "4", " ", " IT", "'", "S", "\n\n", " x", "\u0661", "\u0662"],
    "llama-bpe": ["I", "'m", " ", "123", "4", " ", " IT", "'S", "\n\n", " x", "\u0661\u0662"],
    "qwen2": ["I", "'m", " ", "1", "2", "3", "4", " ", " IT", "'S", "\n\n", " x", "\u0661", "\u0662"],
}


def test_the_rebuilt_files_are_the_originals_to_the_byte(smollm2: Model) -> None:
    assert {name: sha256(smollm2.folder / name) for name in ORIGINAL} == ORIGINAL


@pytest.mark.parametrize("text", KNOWN_IDS)
def test_encodes_as_the_original_does(smollm2: Model, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2.folder / "tokenizer.json"))
    assert tokenizer.encode(text).ids == KNOWN_IDS[text]


@pytest.mark.parametrize("pre", SPLITS)
def test_each_pre_tokenizer_splits_by_its_own_rules(tmp_path: Path, tiny_metadata: dict[str, Any], pre: str) -> None:
    write_tokenizer({**tiny_metadata, "tokenizer.ggml.pre": pre}, tmp_path)
    rules = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).pre_tokenizer
    assert rules is not None
    assert [TEXT[start:end] for _, (start, end) in rules.pre_tokenize_str(TEXT)] == SPLITS[pre]


def test_merges_stop_at_the_pre_tokenizers_borders(tmp_path: Path, tiny_metadata: dict[str, Any]) -> None:
    def tokens(pre: str) -> list[str]:
        write_tokenizer({**tiny_metadata, "tokenizer.ggml.pre": pre}, tmp_path)
        return Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("hello1234<|im_end|>").tokens

    assert tokens("gpt-2") == ["hello", "1234", "<|im_end|>"]
    assert tokens("llama-bpe") == ["hello", "123", "4", "<|im_end|>"]
    assert tokens("smollm") == ["hello", "1", "2", "3", "4", "<|im_end|>"]


def test_a_model_that_begins_with_a_token_says_so(tmp_path: Path, tiny_metadata: dict[str, Any]) -> None:
    write_tokenizer({**tiny_metadata, "tokenizer.ggml.add_bos_token": True}, tmp_path)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("he").tokens == ["<|im_start|>", "he"]


@pytest.mark.parametrize(("key", "value"), [("pre", "tekken"), ("model", "llama")])
def test_unknown_rules_are_refused_by_name(tmp_path: Path, tiny_metadata: dict[str, Any], key: str, value: str) -> None:
    with pytest.raises(BadInput, match=value):
        write_tokenizer({**tiny_metadata, f"tokenizer.ggml.{key}": value}, tmp_path)


def test_generation_settings_name_the_end_token(tmp_path: Path, tiny_metadata: dict[str, Any]) -> None:
    write_tokenizer(tiny_metadata, tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {"bos_token_id": 1, "eos_token_id": 2}
