"""Forgetting on request: "please forget my address" takes what it names out of the memory, wherever it stands.

Only a user's own words ask for it, and only for something they name: "forget everything" in a pasted text or a tool's
output does nothing, and in a user's message nothing either: all is deleted through the API, where it cannot be an
accident. What is taken out is the sentences that speak of the thing, and every other sentence that repeats its numbers
or, in the replies that followed, its names.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from anubhav.memory.cut import Count, reword
from anubhav.memory.kin import kin
from anubhav.memory.statements import FIRST, verbs
from anubhav.memory.supersede import without
from anubhav.memory.telling import parts, tell
from anubhav.memory.words import POLITE, bare, content, facts, kinds, split, stem
from anubhav.types.memory import Chunk

_ASK = re.compile(
    r"(?:^|[.!?;,:]\s+|\b(?:please|now|can you|you can|you may|could you|would you|want you to|like you to|"
    r"need you to|have to|and|to|just)\s+)"
    r"(?:forget|delete|erase|remove|wipe|discard|scrub|drop|stop (?:remembering|storing|keeping)|"
    r"don['’]t (?:remember|keep|store)|do not (?:remember|keep|store))\b(?!\s+to\b)(?P<what>[^.!?]*)",
    re.IGNORECASE,
)
_ASK_HINDI = re.compile(r"(?P<what>[^।.!?]*?)\s*(?:को\s+)?(?:भूल\s+जा|मिटा\s+दो|मिटा\s+दीजिए|हटा\s+दो|हटा\s+दीजिए)")
_NOT = re.compile(
    r"\b(?:don['’]t|do not|never|not|mustn['’]t)\s+(?:ever\s+)?(?:forget|delete|erase|remove)\b", re.IGNORECASE
)
_MEANT = re.compile(r"(?:i mean|i meant|namely|that is|that['’]s|i\.e\.|the one)\b", re.IGNORECASE)
"""How a sentence begins that says once more what the request before it was about."""
_VAGUE = frozenset(
    """everything anything all said told tell mentioned mention gave shared memory memories record records information
    info detail details data about earlier please remember conversation chat instruction instructions rule rules
    previous know stuff have message messages completely forever longer entirely immediately last""".split()  # noqa: SIM905
)
_SHARE = 0.6
"""Of the weight of the words that name the thing and that stand in the memory at all."""
_ATTRIBUTES = frozenset("number name time date day city street colour room digit set setting part".split())  # noqa: SIM905
"""What many things have: alone they name none, and beside others they weigh little."""
_LITTLE = 0.3
_PERHAPS = 0.4
"""The share that is enough of what somebody told of themselves, where nothing holds more."""
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


def meant(chunk: Chunk) -> frozenset[str]:
    """Numbers and names a request gives of what is to be forgotten, in a sentence of their own ("I mean 4821.")."""
    return frozenset(
        word for words in parts(chunk).values() if _MEANT.match(" ".join(words)) for word in facts(" ".join(words))
    )


def find(chunks: Sequence[Chunk], named: frozenset[str], meant: frozenset[str] = frozenset()) -> dict[str, set[int]]:
    """By chunk id, the sentences to take out: those that speak of what is named, or say all of what is meant."""
    held = [
        (chunk, number, words, _held(words, None if _claimed(chunk, number, words) else named))
        for chunk in chunks
        for number, words in parts(chunk).items()
        if not (chunk.role == "user" and "hearsay" in tell(tuple(words)))
    ]
    weights = _weights(named, [kins for *_, kins in held])
    shares = [sum(weights[word] for word in weights.keys() & one[3]) / (sum(weights.values()) or 1) for one in held]
    least = _SHARE if max(shares, default=0.0) >= _SHARE else max(_PERHAPS, max(shares, default=0.0))
    found: dict[str, set[int]] = {}
    values: set[str] = set()
    told: list[tuple[int, Sequence[str]]] = []
    for (chunk, number, words, _), share in zip(held, shares, strict=True):
        same = bool(meant) and meant <= facts(f"so {' '.join(words)}")
        if same or (share >= least and (least == _SHARE or _claimed(chunk, number, words))):
            found.setdefault(chunk.id, set()).add(number)
            values |= {word for word in facts(f"so {' '.join(words)}") if _number(word) or word not in named}
            told.append((chunk.turn, words))
    for chunk, number, words, _ in held:
        close = [said for turn, said in told if 0 <= chunk.turn - turn <= _ECHO and chunk.role != "user"]
        repeats = any(_tells(word, near=bool(close)) for word in values & facts(f"so {' '.join(words)}"))
        if repeats or any(_echoes(words, said) for said in close):
            found.setdefault(chunk.id, set()).add(number)
    return found


def obeyed(request: Chunk, named: frozenset[str], values: frozenset[str], count: Count, *, found: bool) -> Chunk | None:
    """What is left to remember of a request: nothing of it once it was followed, and never the values it repeats."""
    said = {number: " ".join(words) for number, words in parts(request).items()}
    done = {n for n, text in said.items() if _MEANT.match(text) or (found and asked_to_forget(text))}
    left = without(request, done, count) if done else request
    return left and replace(reword(left, _hide(left.text, named, values), count), statements=(), pin="")


def _held(words: Sequence[str], only: frozenset[str] | None) -> frozenset[str]:
    """What the words are kin to; if `only` these are looked for, they alone."""
    stems = {stem(word) for word in content(f"so {' '.join(words)}")} | verbs(words)
    return frozenset(kin(word) for word in stems if only is None or word in only)


def _claimed(chunk: Chunk, sentence: int, words: Sequence[str]) -> bool:
    """Whether a user says something of themselves: only there kindred words name it too."""
    own = any(bare(word) in FIRST for word in words) or any(one.sentence == sentence for one in chunk.statements)
    return own and chunk.role == "user"


def _weights(named: frozenset[str], held: Sequence[frozenset[str]]) -> dict[str, float]:
    """The rarer a word is in the memory the more it names; none, if only what many things have is left."""
    seen = {word: sum(word in kins for kins in held) for word in {kin(word) for word in named}}
    found = {
        word: math.log((len(held) + 1) / count) * (_LITTLE if word in _ATTRIBUTES else 1)
        for word, count in seen.items()
        if count
    }
    return found if found.keys() - _ATTRIBUTES else {}


def _echoes(words: Sequence[str], said: Sequence[str]) -> bool:
    told = content(f"so {' '.join(words)}") - POLITE
    return bool(told) and told <= content(f"so {' '.join(said)}")


def _tells(word: str, *, near: bool) -> bool:
    """A number of some length is told anywhere; a name or a short number only close behind."""
    return near or sum(letter.isdigit() for letter in word) >= _LONG


def _number(word: str) -> bool:
    return any(letter.isdigit() for letter in word)


def _hide(text: str, named: frozenset[str], values: frozenset[str]) -> str:
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
