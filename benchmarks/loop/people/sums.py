"""Arithmetic with a tool that checks it: a program tells the outcome of each sampled answer, 0 or 1."""

from collections.abc import Sequence
from random import Random
from typing import Any

from benchmarks.loop.people.task import Item, Reaction

_EARLIER = ((12, 3), (31, 2))
"""Worked examples in the conversation, without which the model never hits on the form (docs/lab-notes.md)."""
_FIRST, _SECOND = range(10, 41), range(1, 6)
"""Never both ways round: a sum that is held out has no twin in training."""
_SEALED, _HELD_OUT = 30, 60


class Sums:
    name = "sums"
    samples, temperature, tokens, sampled = 8, 1.0, 8, False

    def __init__(self, seed: int, days: int, size: int = 40) -> None:
        self.a_day = size
        sums = [(a, b) for a in _FIRST for b in _SECOND if (a, b) not in _EARLIER]
        Random(f"sums:{seed}").shuffle(sums)
        self._sealed, rest = sums[:_SEALED], sums[_SEALED:]
        self._tested, self._asked = rest[:_HELD_OUT], rest[_HELD_OUT:]

    def ask(self, day: int, chance: Random) -> Item:
        return _item(*chance.choice(self._asked))

    def react(self, item: Item, texts: Sequence[str], day: int) -> list[Reaction]:
        return [
            Reaction("outcome", place, self.truth(item, text, day), text="calculator")
            for place, text in enumerate(texts)
        ]

    def truth(self, item: Item, text: str, day: int) -> float:
        first, second = item.key.split("+")
        return float(text.strip() == str(int(first) + int(second)))

    def held_out(self) -> list[Item]:
        return [_item(*pair) for pair in self._tested]

    def probes(self, day: int) -> list[dict[str, Any]]:
        return [
            {
                "suite": "target-sums",
                "check": "exact",
                "messages": _item(*pair).chat(),
                "expected": str(sum(pair)),
            }
            for pair in (self._sealed if day == 1 else [])
        ]

    def mistake(self, item: Item, day: int) -> str:
        first, second = item.key.split("+")
        return str(int(first) + int(second) + 1)


def _item(first: int, second: int) -> Item:
    turns: list[tuple[str, str]] = []
    for a, b in _EARLIER:
        turns += [("user", f"{a}+{b}="), ("assistant", str(a + b))]
    return Item("sums", f"{first}+{second}", (*turns, ("user", f"{first}+{second}=")))
