"""Values of facts: numbers of many shapes and names from pools, each used once in a life."""

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
DOMAINS = HERE / "domains"
_TRIES = 1000
_MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_SHARED = frozenset(
    """mg kg degrees dr. professor the road street lane hotel school academy house house. court milk blue lane avenue
    bank hill harbour view inn""".split()  # noqa: SIM905
) | {month.lower() for month in _MONTHS}
"""Words that two values may have in common."""
_SHAPES: dict[str, Callable[[Random], str]] = {
    "code4": lambda chance: str(chance.randint(1000, 9999)),
    "code6": lambda chance: str(chance.randint(100000, 999999)),
    "shoe": lambda chance: str(chance.randint(35, 47)),
    "small": lambda chance: str(chance.randint(11, 89)),
    "amount": lambda chance: f"{chance.randint(61, 990) * 50:,}",
    "phone": lambda chance: f"{chance.randint(70000, 99999)} {chance.randint(10000, 99999)}",
    "time": lambda chance: f"{chance.randint(7, 11)}:{chance.randint(1, 11) * 5:02}",
    "minutes": lambda chance: f"{chance.randint(40, 69)}:{chance.randint(10, 59)}",
    "date": lambda chance: f"{chance.randint(1, 28)} {chance.choice(_MONTHS)}",
    "ordinal": lambda chance: f"{chance.randint(4, 20)}th",
    "dose": lambda chance: f"{chance.randint(3, 39) * 5} mg",
    "kilos": lambda chance: f"{chance.randint(48, 99)} kg",
    "degrees": lambda chance: f"{chance.randint(15, 29) * 10} degrees",
    "flight": lambda chance: f"{_letters(chance, 2)}{chance.randint(100, 999)}",
    "seat": lambda chance: f"{chance.randint(10, 49)}{_letters(chance, 1)}",
    "room": lambda chance: f"{_letters(chance, 1)}-{chance.randint(100, 499)}",
    "reference": lambda chance: f"{_letters(chance, 2)}{chance.randint(1000, 9999)}{_letters(chance, 1)}",
    "password": lambda chance: f"{chance.choice(pool('pet')).lower()}{chance.randint(100, 999)}",
    "person": lambda chance: f"{chance.choice(pool('first'))} {chance.choice(pool('last'))}",
    "doctor": lambda chance: f"Dr. {chance.choice(pool('last'))}",
    "professor": lambda chance: f"Professor {chance.choice(pool('last'))}",
}
"""Kinds that are made; any other is drawn from the pool of its name."""


class Values:
    """Draws values that share no word or number with any drawn before, so that finding one means that one."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._used: set[str] = set()

    def draw(self, kind: str) -> str:
        """Raises LookupError when a pool has been drawn empty."""
        for _ in range(_TRIES):
            value = _SHAPES[kind](self._chance) if kind in _SHAPES else self._chance.choice(pool(kind))
            words = set(value.lower().split())
            if not words & self._used - _SHARED:
                self._used |= words
                return value
        raise LookupError(f"No value of kind {kind} is left for one life")

    @property
    def used(self) -> frozenset[str]:
        """Words of all that was drawn, in lower case."""
        return frozenset(self._used)


@cache
def pool(kind: str) -> tuple[str, ...]:
    """Names of one kind, parted by bars where they have several words."""
    told = tomllib.loads((HERE / "pools.toml").read_text(encoding="utf-8"))[kind]
    parts = told.split("|") if "|" in told else told.split()
    return tuple(" ".join(part.split()) for part in parts)


def _letters(chance: Random, count: int) -> str:
    return "".join(chance.choice(_LETTERS) for _ in range(count))
