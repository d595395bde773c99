"""Tokenizers without a network: from the hub mirror, and for a training client on this machine from the folder."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import tinker
from transformers import AutoTokenizer
by_name = AutoTokenizer.from_pretrained("tiny", fast=True)
with tinker.ServiceClient() as service:
    trainer = service.create_lora_training_client("tiny", rank=2).result()
    sampler = service.create_sampling_client(base_model="tiny").result()
    for tokenizer in (by_name, trainer.get_tokenizer(), sampler.get_tokenizer()):
        print(tokenizer.encode("hello"))
        print(tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False))
"""


def test_every_client_gets_the_tokenizer_from_the_server(tinker_server: Any, tmp_path: Path) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": tinker_server.url,
        "HF_HOME": str(tmp_path / "empty"),
        "TINKER_BASE_URL": tinker_server.url,
        "TINKER_API_KEY": tinker_server.key,
    }
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = done.stdout.split("<|im_end|>\n")
    assert answers[0] == answers[1].lstrip("\n") == answers[2].lstrip("\n")
    assert "<|im_start|>user\nhi" in answers[0]
