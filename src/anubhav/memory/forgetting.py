"""Forgetting on request: "please forget my address" takes what it names out of the memory, wherever it stands.

Only a user's own words ask for it, and only for something they name: "forget everything" in a pasted text or a tool's
output does nothing, and in a user's message nothing either: all is deleted through the API, where it cannot be an
accident. What is taken out is the sentences that speak of the thing, and every other sentence that repeats its numbers
or, in the replies that followed, its names.
"""

import re
from collections.abc import Sequence

from anubhav.memory.statements import stem
from anubhav.memory.words import bare, content, facts, kinds, split
from anubhav.types.memory import Chunk

_ASK = re.compile(
    r"(?:^|[.!?;,:]\s+|\b(?:please|now|can you|could you|would you|want you to|like you to|need you to|have to|"
    r"and|to|just)\s+)"
    r"(?:forget|delete|erase|remove|wipe|discard|scrub|drop|stop (?:remembering|storing|keeping)|"
    r"don['’]t (?:remember|keep|store)|do not (?:remember|keep|store))\b(?!\s+to\b)(?P<what>[^.!?]*)",
    re.IGNORECASE,
)
_ASK_HINDI = re.compile(r"(?P<what>[^।.!?]*?)\s*(?:को\s+)?(?:भूल\s+जा|मिटा\s+दो|मिटा\s+दीजिए|हटा\s+दो|हटा\s+दीजिए)")
_NOT = re.compile(
    r"\b(?:don['’]t|do not|never|not|mustn['’]t)\s+(?:ever\s+)?(?:forget|delete|erase|remove)\b", re.IGNORECASE
)
_VAGUE = frozenset(
    """everything anything all said told tell mentioned mention gave shared memory memories record records information
    info detail details data about earlier please remember conversation chat instruction instructions rule rules
    previous know stuff have message messages completely forever longer entirely immediately last""".split()  # noqa: SIM905
)
_SHARE = 0.6
"""Of the words that name the thing a sentence must hold."""
_ECHO = 3
"""Messages after one that may repeat it."""
_LONG = 3
"""Digits of a number that is unlikely to stand for two things."""


def asked_to_forget(text: str) -> tuple[frozenset[str], ...]:
    """For each request in a user's words, the stemmed words that name what to forget; none for vague ones."""
    named: list[frozenset[str]] = []
    if not _NOT.search(text):
        for match in (*_ASK.finditer(text), *_ASK_HINDI.finditer(text)):
            words = frozenset(stem(word) for word in content(f"so {match['what']}")) - _VAGUE
            if words:
                named.append(words)
    return tuple(named)


def find(chunks: Sequence[Chunk], named: frozenset[str]) -> dict[str, set[int]]:
    """By chunk id, the sentences to take out."""
    found: dict[str, set[int]] = {}
    values: set[str] = set()
    turns: list[int] = []
    for chunk in chunks:
        for number, words in _by_sentence(chunk).items():
            held = {stem(word) for word in content(f"so {' '.join(words)}")}
            if len(named & held) >= _SHARE * len(named):
                found.setdefault(chunk.id, set()).add(number)
                values |= {word for word in facts(f"so {' '.join(words)}") if _number(word) or word not in named}
                turns.append(chunk.turn)
    for chunk in chunks:
        near = any(0 <= chunk.turn - turn <= _ECHO for turn in turns)
        for number, words in _by_sentence(chunk).items():
            if any(
                _tells(word, near=near and chunk.role != "user") for word in values & facts(f"so {' '.join(words)}")
            ):
                found.setdefault(chunk.id, set()).add(number)
    return found


def _tells(word: str, *, near: bool) -> bool:
    """A number of some length is told anywhere; a name or a short number only close behind."""
    return near or sum(letter.isdigit() for letter in word) >= _LONG


def _number(word: str) -> bool:
    return any(letter.isdigit() for letter in word)


def hide(text: str, named: frozenset[str], values: frozenset[str]) -> str:
    """The request itself, without the values it repeats."""
    words = split(text)
    found = kinds(words)
    return " ".join(
        word
        for word, kind in zip(words, found, strict=True)
        if not (
            (kind == "number" and bare(word) in values | named)
            or (kind == "name" and bare(word) in values and stem(bare(word)) not in named)
        )
    )


def _by_sentence(chunk: Chunk) -> dict[int, list[str]]:
    words = split(chunk.text)
    numbers = chunk.sentences if len(chunk.sentences) == len(words) else (0,) * len(words)
    found: dict[int, list[str]] = {}
    for number, word in zip(numbers, words, strict=True):
        found.setdefault(number, []).append(word)
    return found
