"""The table: logits are a fixed pseudo-random base plus, per adapter, one learned row of V numbers for each of four
contexts (the last token, the last two, the last four, everything so far).

Short contexts generalise, the long one memorises, so imitating an answer changes that answer first and others a
little. Log-probabilities and gradients are exact.
"""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache

Rows = dict[str, list[float]]
"""Context → V numbers; a context that is not there counts as zeros."""


def contexts(tokens: Sequence[int]) -> tuple[str, ...]:
    """The names of the rows that decide what follows `tokens`."""
    spans = (tokens[-1:], tokens[-2:], tokens[-4:], tokens)
    return tuple(f"{kind}.{_digest(span)}" for kind, span in zip("abcd", spans, strict=True))


def logprobs(tokens: Sequence[int], rows: Mapping[str, Sequence[float]], scale: float, vocab: int) -> list[float]:
    """Log-probability of every token of the vocabulary after `tokens`."""
    logits = list(_base(tokens[-1], vocab))
    for name in contexts(tokens):
        if row := rows.get(name):
            logits = [logit + scale * value for logit, value in zip(logits, row, strict=True)]
    return log_softmax(logits)


def log_softmax(logits: Sequence[float]) -> list[float]:
    most = max(logits)
    total = most + math.log(sum(math.exp(logit - most) for logit in logits))
    return [logit - total for logit in logits]


def add_gradient(gradient: Rows, tokens: Sequence[int], values: Sequence[float], scale: float) -> None:
    """Add d loss / d logits, `values`, to the rows that made those logits."""
    for name in contexts(tokens):
        row = gradient.setdefault(name, [0.0] * len(values))
        for place, value in enumerate(values):
            row[place] += scale * value


def _digest(tokens: Sequence[int]) -> str:
    return hashlib.blake2b(",".join(map(str, tokens)).encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=4096)
def _base(last: int, vocab: int) -> tuple[float, ...]:
    rng = random.Random(last)
    return tuple(rng.uniform(-1, 1) for _ in range(vocab))
