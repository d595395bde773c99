"""The negative control: reversing a word, which the small model never once does, so that no reward can teach it."""

from collections.abc import Sequence
from itertools import product
from random import Random
from typing import Any

from benchmarks.loop.people.task import Item, Reaction, one_question

_HELD_OUT = 60


class Reverse:
    name = "reverse"
    samples, temperature, tokens, sampled = 4, 1.0, 8, False

    def __init__(self, seed: int, days: int, size: int = 12) -> None:
        self.a_day = size
        words = ["".join(letters) for letters in product("bdfkmt", "aeiou", "glnprs")]
        Random(f"reverse:{seed}").shuffle(words)
        self._tested, self._asked = words[:_HELD_OUT], words[_HELD_OUT:]

    def ask(self, day: int, chance: Random) -> Item:
        return _item(chance.choice(self._asked))

    def react(self, item: Item, texts: Sequence[str], day: int) -> list[Reaction]:
        return [
            Reaction("outcome", place, self.truth(item, text, day), text="reversed") for place, text in enumerate(texts)
        ]

    def truth(self, item: Item, text: str, day: int) -> float:
        return float(text.strip().strip('".').casefold() == item.key[::-1])

    def held_out(self) -> list[Item]:
        return [_item(word) for word in self._tested]

    def probes(self, day: int) -> list[dict[str, Any]]:
        return []

    def mistake(self, item: Item, day: int) -> str:
        return item.key


def _item(word: str) -> Item:
    return one_question("reverse", word, f"Reverse the letters of {word}. Say only the result.")
