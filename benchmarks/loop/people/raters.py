"""Raters: who gives feedback. Honest ones err at random, lazy ones mostly click, hostile ones mean harm.

A random flip turns a thumb, an outcome or a comparison round, and makes a correction a wrong one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from benchmarks.loop.people.task import Item, Reaction, Task

Attack = Literal["flips", "false-fact", "collusion", "length", "flattery", "sybil"]
ATTACKS: tuple[Attack, ...] = ("flips", "false-fact", "collusion", "length", "flattery")
"""What hostile raters draw from; sybils come only when asked for, as they are more than a tenth of the raters."""
_HOSTILE = 10
"""One rater of so many is hostile where anybody is."""
_LAZY_THUMB = 0.8
"""How often a lazy rater only puts a thumb up, whatever was said."""


@dataclass(frozen=True)
class Rater:
    user: str
    kind: Literal["honest", "lazy", "hostile"]
    attack: Attack | None = None


def draw_raters(seed: int, count: int, lazy: float, attack: Attack | None, *, hostile: bool) -> list[Rater]:
    """`attack` None: every hostile rater has one of their own."""
    chance = Random(f"raters:{seed}")
    enemies = max(1, count // _HOSTILE) if hostile else 0
    idle = round(lazy * (count - enemies))
    names = [f"user-{chance.randrange(1 << 32):08x}" for _ in range(count)]
    first = chance.randrange(len(ATTACKS))
    kinds = [attack or ATTACKS[(first + place) % len(ATTACKS)] for place in range(enemies)]
    people = [Rater(name, "hostile", kind) for name, kind in zip(names, kinds, strict=False)]
    people += [Rater(name, "lazy") for name in names[enemies : enemies + idle]]
    return people + [Rater(name, "honest") for name in names[enemies + idle :]]


def flip(one: Reaction, mistake: str) -> Reaction:
    """The opposite of what was meant."""
    if one.kind == "correction":
        return replace(one, text=mistake)
    if one.kind == "comparison":
        assert one.against is not None, "a comparison names both"
        return replace(one, place=one.against, against=one.place)
    return replace(one, value=1.0 - (one.value or 0.0))


def honestly(
    rater: Rater, task: Task, asked: tuple[Item, Sequence[str]], day: int, noise: float, chance: Random
) -> list[Reaction]:
    """What an honest or lazy rater says of the replies to what was asked."""
    item, texts = asked
    if rater.kind == "lazy" and chance.random() < _LAZY_THUMB and task.name != "sums":
        return [Reaction("thumb", 0, 1.0)]
    return [
        flip(one, task.mistake(item, day)) if chance.random() < noise else one for one in task.react(item, texts, day)
    ]


def share(counts: Mapping[str, int], hostile: str = "hostile") -> float:
    """The share of one kind of rater in the feedback counted by kind."""
    total = sum(counts.values())
    return counts.get(hostile, 0) / total if total else 0.0
