"""The Reader port over nothing but the tokens: a hashed bag of words with signs, as a base model that knows no grammar.

Pairs of neighbours count too. Deterministic, and short enough that tests fit heads on it in milliseconds.
"""

import hashlib
import itertools
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from anubhav.errors import BadInput
from anubhav.types.arrays import Array, floats

WIDTH = 24


class FakeReader:
    def __init__(self, vocab: int) -> None:
        self._vocab = vocab

    async def read(self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = "") -> list[Array]:
        return [self._one(prompt, answer) for prompt, answer in items]

    def _one(self, prompt: Sequence[int], answer: Sequence[int]) -> Array:
        tokens = (*prompt, *answer)
        if not tokens or not all(0 <= token < self._vocab for token in tokens):
            raise BadInput(f"To read takes token ids in 0..{self._vocab - 1}", hint="Use the model's tokenizer.")
        counts = [0.0] * WIDTH
        for name in (*_words(answer), f"last {tokens[-1]}"):
            place, sign = _bucket(name)
            counts[place] += sign
        norm = math.sqrt(sum(count * count for count in counts)) or 1.0
        return floats(count / norm * math.sqrt(WIDTH) / 2 for count in counts)


def _words(tokens: Sequence[int]) -> Iterable[str]:
    yield from (str(token) for token in tokens)
    yield from (f"{first} {second}" for first, second in itertools.pairwise(tokens))


@lru_cache(maxsize=65_536)
def _bucket(name: str) -> tuple[int, float]:
    digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return digest // 2 % WIDTH, 1.0 if digest % 2 else -1.0
