"""BM25 over everything that was said, which stays outside; what fits the budget comes back for each question."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from benchmarks.memory.message import Count, Held, Message
from benchmarks.memory.policies.choosers import hold, take

_SATURATION, _LENGTH = 1.5, 0.75


class Bm25:
    bounded, outside = True, True

    def __init__(self, budget: int, count: Count) -> None:
        self._budget, self._count = budget, count
        self._messages: list[Message] = []
        self._costs: list[int] = []
        self._words: list[Counter[str]] = []
        self._spread: Counter[str] = Counter()

    async def hear(self, message: Message) -> None:
        words = Counter(_words(message.named))
        self._messages.append(message)
        self._costs.append(self._count(f"{message.line}\n"))
        self._words.append(words)
        self._spread.update(words.keys())

    async def recall(self, question: str = "") -> Sequence[Held]:
        if not self._messages:
            return []
        mean = sum(words.total() for words in self._words) / len(self._words)
        asked = set(_words(question))
        worth = [self._worth(words, asked, mean) for words in self._words]
        order = sorted(range(len(worth)), key=lambda at: -worth[at])
        return [hold(self._messages, at) for at in take(order, self._costs, self._budget)]

    def _worth(self, words: Counter[str], asked: set[str], mean: float) -> float:
        long = _SATURATION * (1 - _LENGTH + _LENGTH * words.total() / mean)
        return sum(
            self._rarity(word) * words[word] * (_SATURATION + 1) / (words[word] + long) for word in asked & words.keys()
        )

    def _rarity(self, word: str) -> float:
        spread = self._spread[word]
        return math.log(1 + (len(self._words) - spread + 0.5) / (spread + 0.5))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
