"""What a task is: something people ask for again and again, with a truth that only the simulator knows.

A task is drawn from the seed, says what people ask on a day, how an honest person reacts, and how good a reply truly
is. Its items are parted three ways: what people ask, what the operator seals as probes, and the held-out test, which
never leaves the simulator. A new task is a class like `facts.Facts` and its line in `tasks.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

Kind = Literal["thumb", "correction", "comparison", "outcome"]


@dataclass(frozen=True)
class Item:
    """Something a person may ask."""

    task: str
    key: str
    """What it is about; other wordings of one question share it."""
    messages: tuple[tuple[str, str], ...]
    """(role, content)"""

    def chat(self) -> list[dict[str, str]]:
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True)
class Reaction:
    """What somebody says of the replies to one question."""

    kind: Kind
    place: int
    """Which reply."""
    value: float | None = None
    text: str | None = None
    against: int | None = None
    """The reply that lost a comparison."""


class Task(Protocol):
    name: str
    samples: int
    """Replies to each question."""
    temperature: float
    tokens: int
    a_day: int
    """Questions that honest people ask on a day."""
    sampled: bool
    """The held-out test is sampled at temperature 1; otherwise it is greedy."""

    def ask(self, day: int, chance: Random) -> Item: ...

    def react(self, item: Item, texts: Sequence[str], day: int) -> list[Reaction]:
        """What an honest person who never errs says."""
        ...

    def truth(self, item: Item, text: str, day: int) -> float:
        """How good a reply is on that day, in 0..1. Nothing that is trained on depends on it but by reactions."""
        ...

    def held_out(self) -> list[Item]: ...

    def probes(self, day: int) -> list[dict[str, Any]]:
        """What the operator seals on the morning of that day, as POST /v1/probes takes it."""
        ...

    def mistake(self, item: Item, day: int) -> str:
        """A correction that is wrong, always the same one for an item."""
        ...


def one_question(task: str, key: str, text: str) -> Item:
    return Item(task, key, (("user", text),))
