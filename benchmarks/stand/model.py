"""The model under measurement: where it lies, how many parameters it has, what a token of it costs.

Operations are counted as multiply-adds times two. Frozen matrices count twice in training (forward, and the gradient
of their input), LoRA's count three times, causal attention 3.5 times its forward pass (a backward pass that computes
the scores again), over half the square.
"""

import json
from dataclasses import dataclass
from pathlib import Path

NAME = "smollm2-135m-instruct"
RANK = 32


@dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the seven linear layers of a block."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = [(self.hidden, q), (self.hidden, kv), (self.hidden, kv), (q, self.hidden)]
        return [*attention, (self.hidden, self.inner), (self.hidden, self.inner), (self.inner, self.hidden)]

    @property
    def frozen(self) -> int:
        """Parameters a token is multiplied with, the head included, the embedding table not."""
        return self.layers * sum(a * b for a, b in self.linears()) + self.hidden * self.vocabulary

    def lora(self, rank: int) -> int:
        return self.layers * sum((a + b) * rank for a, b in self.linears())


def read_shape(folder: Path) -> Shape:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = config["num_attention_heads"]
    return Shape(
        config["num_hidden_layers"],
        config["hidden_size"],
        config["intermediate_size"],
        heads,
        config["num_key_value_heads"],
        config.get("head_dim") or config["hidden_size"] // heads,
        config["vocab_size"],
    )


def training_operations(shape: Shape, lengths: list[int], rank: int = RANK) -> float:
    """Of one step over sequences of these lengths, with LoRA on the seven linear layers."""
    a_token = 4 * shape.frozen + 6 * shape.lora(rank)
    attention = sum(3.5 * 4 * shape.heads * shape.head_dim * length * length / 2 for length in lengths)
    return a_token * sum(lengths) + shape.layers * attention


def decoding_bytes(shape: Shape, dtype: str) -> int:
    """Weights read for one token of one stream."""
    return shape.frozen * {"float32": 4, "bfloat16": 2}[dtype]
