"""Facts of an invented business. People ask in several wordings and correct what is wrong; half-way some change."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from anubhav.gates.checks import contains
from benchmarks.loop.people.names import BUSINESSES, amount, name_of, title
from benchmarks.loop.people.subjects import SUBJECTS, Subject
from benchmarks.loop.people.task import Item, Reaction, one_question

_CHANGED = 4
"""One fact of so many changes."""
_ASKED, _SEALED = slice(0, 2), slice(2, 4)
_HELD_OUT = slice(4, None)
_FRAMES = ("{}", "Hello! {}")
"""The test asks each held-out wording in both, so that one percentage point is more than one reply."""


@dataclass(frozen=True)
class Fact:
    subject: Subject
    before: str
    after: str
    """The same as before, unless it changes."""

    def value(self, day: int, change: int) -> str:
        return self.before if day < change else self.after


class Facts:
    name = "facts"
    samples, temperature, tokens, sampled = 1, 0.0, 32, False

    def __init__(self, seed: int, days: int, size: int = 12) -> None:
        """The facts that change do so on the morning of the day after the middle."""
        chance = Random(f"facts:{seed}")
        self.business = f"{name_of(chance)}{chance.choice(BUSINESSES)}"
        self.change = days // 2 + 1 if days > 1 else 2
        chosen = chance.sample(SUBJECTS, min(size, len(SUBJECTS)))
        self.facts: dict[str, Fact] = {}
        taken: set[str] = set()
        for number, subject in enumerate(chosen):
            first, second = _two_values(subject, chance, taken)
            self.facts[subject.name] = Fact(subject, first, second if number % _CHANGED == 0 else first)
        self.a_day = 2 * len(self.facts)
        self._false = {key: _two_values(fact.subject, chance, taken)[0] for key, fact in self.facts.items()}

    def ask(self, day: int, chance: Random) -> Item:
        fact = self.facts[chance.choice(list(self.facts))]
        return self._item(fact, chance.choice(fact.subject.wordings[_ASKED]))

    def react(self, item: Item, texts: Sequence[str], day: int) -> list[Reaction]:
        """A thumb for what is right, a correction for what is not."""
        if self.truth(item, texts[0], day):
            return [Reaction("thumb", 0, 1.0)]
        return [Reaction("correction", 0, text=self._say(item, self._value(item, day)))]

    def truth(self, item: Item, text: str, day: int) -> float:
        return float(contains(text, self._value(item, day)))

    def held_out(self) -> list[Item]:
        return [
            self._item(fact, wording, frame)
            for fact in self.facts.values()
            for wording in fact.subject.wordings[_HELD_OUT]
            for frame in _FRAMES
        ]

    def probes(self, day: int) -> list[dict[str, Any]]:
        """Of a fact that will change only from the day it does: an old probe cannot be taken back."""
        return [
            {
                "suite": "target-facts",
                "check": "contains",
                "question": wording.format(self.business),
                "expected": fact.value(day, self.change),
            }
            for fact in self.facts.values()
            if day == (1 if fact.before == fact.after else self.change)
            for wording in fact.subject.wordings[_SEALED]
        ]

    def mistake(self, item: Item, day: int) -> str:
        return self._say(item, self._false[item.key])

    def _item(self, fact: Fact, wording: str, frame: str = "{}") -> Item:
        return one_question(self.name, fact.subject.name, frame.format(wording.format(self.business)))

    def _value(self, item: Item, day: int) -> str:
        return self.facts[item.key].value(day, self.change)

    def _say(self, item: Item, value: str) -> str:
        return self.facts[item.key].subject.answer.format(self.business, value)


def _two_values(subject: Subject, chance: Random, taken: set[str]) -> tuple[str, str]:
    """Two values that nothing else has: they are `taken` from here on."""
    found: list[str] = []
    while len(found) < 2:
        value = _value(subject, chance)
        if value not in taken:
            found.append(value)
            taken.add(value)
    return found[0], found[1]


def _value(subject: Subject, chance: Random) -> str:
    if subject.kind == "name":
        return title(chance)
    return amount(chance, subject.kind)
