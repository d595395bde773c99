"""Chatter: what fills a life between its facts. It names people, places and numbers that are nobody's fact."""

import re
import tomllib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.memory.values import HERE

_SLOT = re.compile(r"\{(\w+)\}")
_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Book:
    """Wordings by what they are for, and the pools that their gaps are filled from."""

    wordings: Mapping[str, Sequence[str]]
    pools: Mapping[str, Sequence[str]]


def read_book(talk: str) -> Book:
    """Of the file of that name."""
    told: dict[str, Any] = tomllib.loads((HERE / f"{talk}.toml").read_text(encoding="utf-8"))
    pools = {
        name: tuple(" ".join(part.split()) for part in (text.split("|") if "|" in text else text.split()))
        for name, text in told.pop("pools").items()
    }
    return Book(told, pools)


class Chatter:
    def __init__(self, chance: Random, taken: Set[str], talk: str = "chatter") -> None:
        """`taken`: words of facts, which no gap is filled with."""
        self._chance, self._taken, self._book = chance, taken, read_book(talk)

    def say(self, kind: str) -> str:
        """One wording of a kind, its gaps filled."""
        return _SLOT.sub(self._fill, self._chance.choice(self._book.wordings[kind]))

    def talk(self, kind: str) -> str:
        """One to three of them in one breath."""
        return " ".join(self.say(kind) for _ in range(self._chance.choice((1, 1, 1, 2, 2, 3))))

    def wording(self, kind: str) -> str:
        """As it is written, for the gaps that are somebody else's to fill."""
        return self._chance.choice(self._book.wordings[kind])

    def _fill(self, match: re.Match[str]) -> str:
        for _ in range(_TRIES):
            word = self._draw(match[1])
            if not set(word.lower().split()) & self._taken:
                return word
        raise LookupError(f"Facts have taken everything that could fill {match[0]}")

    def _draw(self, slot: str) -> str:
        chance, pools = self._chance, self._book.pools
        match slot:
            case "n":
                return str(chance.randint(2, 999))
            case "big":
                return f"{chance.randint(1, 99)},{chance.randint(0, 999):03}"
            case "year":
                return str(chance.randint(1790, 2019))
            case "who":
                return f"{chance.choice(pools['name'])} {chance.choice(pools['surname'])}"
            case _:
                return chance.choice(pools[slot])
