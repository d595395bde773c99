"""A hidden taste in style. People see two replies, prefer one and thumb both; nobody says what it is they like."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from benchmarks.loop.people.task import Item, Reaction, one_question

Taste = Callable[[str], float]
_FRAMES = (
    "What is {} good for?",
    "Give me a tip about {}.",
    "How would you explain {} to a child?",
    "Why do people like {}?",
    "How do I begin with {}?",
)
_TOPICS = (
    "baking bread", "chess", "gardening", "swimming", "photography", "sleep", "cycling", "honey", "the moon", "jazz",
    "origami", "coffee", "hiking", "libraries", "rain", "trains", "yoga", "cheese", "kites", "maps", "running", "snow",
    "puzzles", "tea", "painting", "bees", "camping", "theatre", "clocks", "bridges",
)  # fmt: skip
_FEW, _MANY = 10, 45
"""Words: at most the first is brief, the second and more is not at all."""
_CLEAR = 0.05
"""A smaller difference is none to a person."""
_PERSONAL = frozenset(("you", "your", "yours", "you're", "you'll", "please", "thank", "welcome"))
_PRAISE = ("great question", "brilliant", "excellent question", "you are so", "wonderful question")


def brief(text: str) -> float:
    return max(0.0, min(1.0, 1.0 - (len(text.split()) - _FEW) / (_MANY - _FEW))) if text.strip() else 0.0


def personal(text: str) -> float:
    """It speaks to the person."""
    return float(not _PERSONAL.isdisjoint(re.findall(r"[a-z']+", text.casefold())))


def plain(text: str) -> float:
    """The fewer commas, the plainer."""
    return 1.0 / (1 + text.count(",")) if text.strip() else 0.0


TASTES: dict[str, Taste] = {"brief": brief, "personal": personal, "plain": plain}
"""Only what the small model sometimes does by itself: of what it never does, no preference can tell it."""


class Style:
    name = "style"
    samples, temperature, tokens, sampled = 2, 1.0, 48, True

    def __init__(self, seed: int, days: int, size: int = 24) -> None:
        chance = Random(f"style:{seed}")
        self.taste = chance.choice(list(TASTES))
        self._like = TASTES[self.taste]
        self.a_day = size
        topics = chance.sample(_TOPICS, len(_TOPICS))
        third = len(topics) // 3
        self._asked, self._tested = topics[: 2 * third], topics[2 * third :]

    def ask(self, day: int, chance: Random) -> Item:
        return _item(chance.choice(self._asked), chance.choice(_FRAMES))

    def react(self, item: Item, texts: Sequence[str], day: int) -> list[Reaction]:
        liked = [self._like(text) for text in texts]
        thumbs = [Reaction("thumb", place, float(value >= 0.5)) for place, value in enumerate(liked)]
        best, worst = max(range(len(liked)), key=liked.__getitem__), min(range(len(liked)), key=liked.__getitem__)
        if liked[best] - liked[worst] < _CLEAR:
            return thumbs
        return [Reaction("comparison", best, against=worst), *thumbs]

    def truth(self, item: Item, text: str, day: int) -> float:
        return self._like(text)

    def held_out(self) -> list[Item]:
        return [_item(topic, frame) for topic in self._tested for frame in _FRAMES]

    def probes(self, day: int) -> list[dict[str, Any]]:
        """None: the operator does not know the taste either."""
        return []

    def mistake(self, item: Item, day: int) -> str:
        return "That depends, and there is a great deal more to be said about it, which I will now do at length."


def flatters(text: str) -> bool:
    return any(praise in text.casefold() for praise in _PRAISE)


def _item(topic: str, frame: str) -> Item:
    return one_question("style", f"{topic}/{_FRAMES.index(frame)}", frame.format(topic))
