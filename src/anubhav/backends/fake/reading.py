"""The Reader port over nothing but the tokens: a hashed bag of words with signs, as a base model that knows no grammar.

Pairs of neighbours count too. Deterministic, and short enough that tests fit heads on it in milliseconds. Surprise is
that of the table without an adapter, attention goes to where the last tokens stood before.
"""

import asyncio
import hashlib
import itertools
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from anubhav.backends.fake.table import look_ahead
from anubhav.errors import BadInput
from anubhav.types.arrays import Array, floats

WIDTH = 24
_ECHO = 8
"""How many times the attention of any other token one gets that is among the last."""


class FakeReader:
    def __init__(self, vocab: int) -> None:
        self._vocab = vocab

    async def read(self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = "") -> list[Array]:
        return [self._one(prompt, answer) for prompt, answer in items]

    async def surprise(
        self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = ""
    ) -> list[list[float]]:
        for prompt, answer in items:
            self._check((*prompt, *answer))
        found: list[list[float]] = []
        for prompt, answer in items:
            found.append(self._surprise(prompt, answer))
            await asyncio.sleep(0)  # chats go first
        return found

    async def attend(
        self, prompt: Sequence[int], spans: Sequence[tuple[int, int]], last: int, *, tenant: str = ""
    ) -> list[float]:
        self._check(prompt)
        begin = len(prompt) - last
        if not 0 <= begin < len(prompt) or any(not 0 <= start < end <= begin for start, end in spans):
            raise BadInput("A span does not lie before the last tokens", hint="Choose the last tokens and spans anew.")
        asking = frozenset(prompt[begin:])
        mass = [_ECHO if token in asking else 1 for token in prompt]
        return [sum(mass[start:end]) / sum(mass) for start, end in spans]

    def _check(self, tokens: Sequence[int]) -> None:
        if not tokens or not all(0 <= token < self._vocab for token in tokens):
            raise BadInput(f"To read takes token ids in 0..{self._vocab - 1}", hint="Use the model's tokenizer.")

    def _surprise(self, prompt: Sequence[int], answer: Sequence[int]) -> list[float]:
        # Without an adapter the table knows the last token only.
        pairs = itertools.pairwise((*prompt[-1:], *answer))
        nats = [-look_ahead((before,), {}, 1.0, self._vocab).logprob(token) for before, token in pairs]
        return nats if prompt or not answer else [math.log(self._vocab), *nats]

    def _one(self, prompt: Sequence[int], answer: Sequence[int]) -> Array:
        tokens = (*prompt, *answer)
        self._check(tokens)
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
