"""Facts asked and tested in one wording each, every other one sealed: what even a table can learn, in seconds.

On a model it measures what is learned by heart, and nothing of other wordings; that is `facts`.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from anubhav.gates.checks import contains
from benchmarks.loop.people.names import amount, name_of
from benchmarks.loop.people.task import Item, Reaction, one_question

_UNITS = ("days", "euros", "room")
_WORDINGS = {"days": "{} days?", "euros": "{} price?", "room": "{} room?"}
_ANSWERS = {"days": "{} days.", "euros": "{} euros.", "room": "Room {}."}


class Drills:
    name = "drills"
    samples, temperature, tokens, sampled = 1, 0.0, 12, False

    def __init__(self, seed: int, days: int, size: int = 40) -> None:
        """A third of the facts is not asked before the second day."""
        chance = Random(f"drills:{seed}")
        self._facts: dict[str, tuple[str, str]] = {}
        """Question → (the truth, a falsehood), both as answers."""
        self._values: dict[str, str] = {}
        while len(self._facts) < size:
            unit = chance.choice(_UNITS)
            question = _WORDINGS[unit].format(name_of(chance))
            true, false = amount(chance, unit), amount(chance, unit)
            if question not in self._facts and not contains(false, true):
                self._facts[question] = (_ANSWERS[unit].format(true), _ANSWERS[unit].format(false))
                self._values[question] = true
        self._first = list(self._facts)[: 2 * size // 3]
        self.a_day = 2 * size

    def ask(self, day: int, chance: Random) -> Item:
        return _item(chance.choice(self._first if day == 1 else list(self._facts)))

    def react(self, item: Item, texts: Sequence[str], day: int) -> list[Reaction]:
        if self.truth(item, texts[0], day):
            return [Reaction("thumb", 0, 1.0)]
        return [Reaction("correction", 0, text=self._facts[item.key][0])]

    def truth(self, item: Item, text: str, day: int) -> float:
        return float(contains(text, self._values[item.key]))

    def held_out(self) -> list[Item]:
        return [_item(question) for question in self._facts]

    def probes(self, day: int) -> list[dict[str, Any]]:
        return [
            {
                "suite": "target-drills",
                "check": "contains",
                "question": question,
                "expected": self._values[question],
            }
            for question in (list(self._facts)[::2] if day == 1 else [])
        ]

    def mistake(self, item: Item, day: int) -> str:
        return self._facts[item.key][1]


def _item(question: str) -> Item:
    return one_question("drills", question, question)
