"""What is said, as every policy hears it, what a policy still holds of it, and how both cost tokens."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from anubhav.types.chat import Role

Count = Callable[[str], int]
_PIECE = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"(?:[^\W_]|[\u0900-\u0963]|(?<=\d)[,.:](?=\d))+")
"""Vowel signs of Devanagari are part of their word, and 7:45 is one word."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    text: str
    speaker: str = ""
    """By name, where it is not just a user and an assistant."""
    at: float = 0.0

    @property
    def named(self) -> str:
        """The text, after the speaker's name where there is one."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text

    @property
    def line(self) -> str:
        """What it costs in a prompt is the tokens of this."""
        return self.named if self.speaker else f"{self.role}: {self.text}"


@dataclass(frozen=True, slots=True)
class Held:
    """A line of a memory."""

    role: Role
    text: str
    turn: int | None
    """The message it is left of, numbered from 0; None: written anew from several."""


def count_words(text: str) -> int:
    """Words, numbers and marks: the tokens that the published floors were counted in."""
    return len(_PIECE.findall(text))


def plain(text: str) -> str:
    """Words in lower case between single spaces, one before and one after: what is looked for stands between spaces."""
    return f" {' '.join(_WORD.findall(text.lower()))} "
