"""A model folder over the fake backend: a table that really learns, so that many seeds run in seconds.

Its tokens are bytes and its gain makes it learn at the rates of a real model's recipes.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

NAME = "table"
_CONTEXT = 1024
_GAIN = 100.0
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_table(folder: Path, pace: float = 0.0) -> Path:
    """`pace`: seconds from one token to the next."""
    folder.mkdir(parents=True)
    words = ["<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(words[:2])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": words[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = {
        "architectures": ["AnubhavFake"],
        "vocab_size": len(words),
        "max_position_embeddings": _CONTEXT,
        "eos_token_id": 1,
        "gain": _GAIN,
        "pace": pace,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder
