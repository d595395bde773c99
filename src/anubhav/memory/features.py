"""Features of a chunk: what its score is made of. Names are kept with the weights, so that policies stay readable.

With the model's surprise the weight of a word is its own self-information; without it, rarity among what is remembered.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from anubhav.memory.telling import KINDS, parts, tell
from anubhav.memory.words import bare, content, kinds, split
from anubhav.types.memory import Chunk

NAMES = (
    "content", "rarity", "names", "numbers", "negation", "question", "first_person", "length", "user", "tool",
    "age", "repeated", "surprise", "attention", "need", "claim", "event", "own", "empty", *KINDS,
)  # fmt: skip
_KEPT = ("first_person", "own", "personal", "dated", "code", "lasting", "renewed")
_FIRST = frozenset("i my me mine we our us i'm i've i'd i'll मैं मेरा मेरी मेरे हम".split())  # noqa: SIM905
_OWN = frozenset("my mine our मेरा मेरी मेरे हमारा हमारी हमारे".split())  # noqa: SIM905


def spread(chunks: Sequence[Chunk]) -> Mapping[str, int]:
    """In how many chunks each carrying word stands."""
    return Counter(word for chunk in chunks for word in content(chunk.text))


def describe(chunk: Chunk) -> dict[str, float]:
    """What can be read off a chunk when it is heard: later, shortened, it would look like less than it was."""
    words = split(chunk.text)
    found = kinds(words)
    count = Counter(found)
    carry = count["content"] + count["name"] + count["number"]
    own = sum(bare(word) in _OWN for word in words) if chunk.role == "user" else 0
    return {
        "content": math.log1p(count["content"]),
        "names": math.sqrt(count["name"]),
        "numbers": math.sqrt(count["number"]),
        "negation": float(count["negation"] > 0),
        "question": float(words[-1].endswith("?")) if words else 0.0,
        "first_person": float(any(bare(word) in _FIRST for word in words)),
        "length": math.log(max(1, carry)),
        "user": float(chunk.role == "user"),
        "tool": float(chunk.role == "tool"),
        "surprise": _surprise(chunk, found),
        "claim": math.sqrt(sum(bool(one.about) and not one.event for one in chunk.statements)),
        "event": math.sqrt(sum(one.event for one in chunk.statements)),
        "own": math.sqrt(own),
        "empty": float(not (count["name"] or count["number"] or chunk.statements or own)),
        **_told(chunk),
        "record": math.sqrt(sum(not one.about for one in chunk.statements)),
    }


def describe_rest(left: Chunk, was: Chunk) -> dict[str, float]:
    """What is left of a chunk after some of its sentences. Shortened before, it no longer shows whose it is and how."""
    found = describe(left)
    if found["record"] and was.features:
        found |= {name: max(found.get(name, 0.0), min(1.0, was.features.get(name, 0.0))) for name in _KEPT}
    return found


def _told(chunk: Chunk) -> dict[str, float]:
    """How its sentences tell what they say: of each way, the root of how many do."""
    found = Counter(kind for words in parts(chunk).values() for kind in tell(tuple(words)))
    return {kind: math.sqrt(times) for kind, times in found.items()}


def place(chunk: Chunk, seen: Mapping[str, int], chunks: int, turn: int) -> dict[str, float]:
    """What depends on the rest of the memory and on the time."""
    carrying = _carrying(chunk.text)
    rare = [math.log((chunks + 1) / seen.get(word, 1)) for word in carrying]
    return {
        "rarity": sum(rare) / (len(rare) or 1) / math.log(chunks + 2),
        "repeated": sum(seen.get(word, 1) > 1 for word in carrying) / (len(carrying) or 1),
        "age": math.log1p(turn - chunk.turn) / 10,
    }


@lru_cache(maxsize=8192)
def _carrying(text: str) -> tuple[str, ...]:
    words = split(text)
    found = zip(words, kinds(words), strict=True)
    return tuple(dict.fromkeys(bare(word) for word, kind in found if kind in ("content", "name")))


def _surprise(chunk: Chunk, found: Sequence[str]) -> float:
    """Mean nats of the words that carry something, over 10; 0 where it was not measured."""
    if len(chunk.weights) != len(found):
        return 0.0
    carrying = [weight for weight, kind in zip(chunk.weights, found, strict=True) if kind != "joining"]
    return sum(carrying) / (len(carrying) or 1) / 10
