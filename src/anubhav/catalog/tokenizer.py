"""Writes the Hugging Face tokenizer files of a byte-level BPE model from what its GGUF file knows.

A GGUF names its pre-tokenizer (`tokenizer.ggml.pre`) and leaves the rules to the reader, so they are given here.
Reading only "ByteLevel" out of it is the usual mistake: numbers then split differently from the original.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anubhav.errors import BadInput

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_WORDS = _LLAMA3_WORDS.replace("{1,3}", "")


def write_tokenizer(metadata: Mapping[str, Any], folder: Path) -> None:
    """Write tokenizer.json, its two companions, generation_config.json and, where there is one, chat_template.jinja.

    Raises BadInput for a kind of tokenizer whose rules are not known here, and says its name.
    """
    _write(folder / "tokenizer.json", _tokenizer(metadata), newline=False)
    names = {f"{name}_token": token for name, token in _named_tokens(metadata).items()}
    config = {
        **names,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.get(f"{metadata.get('general.architecture')}.context_length"),
        # Not GPT2Tokenizer: transformers 5 would then rebuild the pre-tokenizer without our rules.
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    _write(folder / "tokenizer_config.json", config)
    turns = [token for token in dict.fromkeys(names.get(key) for key in ("bos_token", "eos_token")) if token]
    _write(
        folder / "special_tokens_map.json",
        {"additional_special_tokens": turns, **{name: _plain(token) for name, token in names.items()}},
    )
    ids = {f"{name}_token_id": metadata.get(_id_key(name)) for name in ("bos", "eos", "pad")}
    _write(folder / "generation_config.json", {name: value for name, value in ids.items() if value is not None})
    template = metadata.get("tokenizer.chat_template")
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write(path: Path, content: Mapping[str, Any], *, newline: bool = True) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n" * newline, encoding="utf-8")


def _id_key(name: str) -> str:
    long = {"unk": "unknown", "pad": "padding"}.get(name, name)
    return f"tokenizer.ggml.{long}_token_id"


def _named_tokens(metadata: Mapping[str, Any]) -> dict[str, str]:
    tokens = metadata["tokenizer.ggml.tokens"]
    ids = {name: metadata.get(_id_key(name)) for name in ("bos", "eos", "pad", "unk")}
    return {name: tokens[index] for name, index in ids.items() if index is not None and index < len(tokens)}


def _plain(content: str) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def _tokenizer(metadata: Mapping[str, Any]) -> dict[str, Any]:
    model = metadata.get("tokenizer.ggml.model")
    if model != "gpt2":
        raise BadInput(f"GGUF tokenizers of kind {model!r} are not read", hint="Use the model's Hugging Face folder.")
    pre = metadata.get("tokenizer.ggml.pre", "")
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    kinds: list[int] = metadata.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    if len(kinds) != len(tokens):
        raise BadInput("The GGUF file gives token kinds for another vocabulary", hint="Download it again.")
    begins = metadata.get("tokenizer.ggml.add_bos_token", pre == "llama-bpe")
    # The keys and their order are those of the tokenizers library, so that a rebuilt file equals the original's bytes.
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(index, token, special=kind == _CONTROL)
            for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind in (_CONTROL, _USER_DEFINED)
        ],
        "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
        "pre_tokenizer": _pre_tokenizer(pre),
        "post_processor": _begin(metadata) if begins else None,
        "decoder": _byte_level(prefix=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe",
            "vocab": {token: index for index, token in enumerate(tokens) if kinds[index] != _UNUSED},
            "merges": metadata.get("tokenizer.ggml.merges", []),
        },
    }


def _added(index: int, content: str, *, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": content, **flags, "special": special}


def _byte_level(*, prefix: bool = False, regex: bool = True) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def _split(words: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _byte_level(regex=False)]}


def _pre_tokenizer(name: str) -> dict[str, Any]:
    """The rules that llama.cpp's llama-vocab.cpp applies for this name, in the tokenizers library's terms."""
    digits = {"type": "Digits", "individual_digits": True}
    rules = {
        "gpt-2": _byte_level(),
        "smollm": {"type": "Sequence", "pretokenizers": [digits, _byte_level()]},
        "llama-bpe": _split(_LLAMA3_WORDS),
        "qwen2": _split(_QWEN2_WORDS),
    }
    if name not in rules:
        known = ", ".join(rules)
        raise BadInput(
            f"The pre-tokenizer {name!r} is not known; a guess would split text differently from the original",
            hint=f"Use the model's Hugging Face folder, or a GGUF file with one of: {known}.",
        )
    return rules[name]


def _begin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    index = metadata["tokenizer.ggml.bos_token_id"]
    token = metadata["tokenizer.ggml.tokens"][index]
    special = {"SpecialToken": {"id": token, "type_id": 0}}
    first, second = ({"Sequence": {"id": letter, "type_id": kind}} for letter, kind in (("A", 0), ("B", 1)))
    return {
        "type": "TemplateProcessing",
        "single": [special, first],
        "pair": [special, first, second],
        "special_tokens": {token: {"id": token, "ids": [index], "tokens": [token]}},
    }
