"""Statements: what a sentence is about and what it says of it, so that "my flat is in Pune" can be told to be outdated.

No grammar, only the shape of a claim: words before a form of "to be" (or a verb that has one answer at a time, such as
where somebody lives) say what it is about, words after it give the value. What does not have the shape is never a claim
and is never superseded; both may then stand in memory, in the order they were said.
"""

import re
from collections.abc import Sequence

from anubhav.memory.words import bare, kinds
from anubhav.types.memory import Statement

_COPULAS = frozenset("is are was were be became becomes equals = i'm am it's है हैं".split())  # noqa: SIM905
_SINGLE = {
    "live": (
        "live lives lived living moved move moving relocated relocate relocating reside resides shifted based",
        "in to at near on",
    ),
    "work": ("work works worked working", "at for as in"),
    "drive": ("drive drives", "a an"),
    "study": ("study studies studying enrolled", "at in"),
}
"""Verbs with one answer at a time, and what has to follow them."""
_VERBS = {form: (name, frozenset(after.split())) for name, (forms, after) in _SINGLE.items() for form in forms.split()}
_CHANGE = frozenset(
    """changed change changes switched switch switching updated update replaced moved relocated renamed
    rescheduled shifted swapped became""".split()  # noqa: SIM905
)
_CUES = frozenset(
    "now actually instead anymore longer currently current latest correction updated new since recently changed".split()  # noqa: SIM905
)
_PLAIN = frozenset("called named name by at in on of to from for with as".split())  # noqa: SIM905
_OWNED = frozenset("my our his her their".split())  # noqa: SIM905
_LONGEST = 18
"""Words of a sentence that may be a claim; who tells a story says more."""
_NEAR = 0.6
"""Share of words in common that is enough where the sentence itself says that something changed."""
_WIDEST = (5, 8)
"""Words that carry, of what it is about and of the value."""
_OPENING = re.compile(r"^(?:well|so|oh|hey|hi|btw|by the way|just|also|and|but|ok|okay|fyi|update|correction)$")


def read_statement(sentence: int, words: Sequence[str]) -> Statement | None:
    """The claim of a sentence, or None. Questions claim nothing."""
    words = _after_address(words)
    if not words or len(words) > _LONGEST or words[-1].rstrip("\"')”’").endswith("?"):
        return None
    plain = [bare(word) for word in words]
    update = any(word in _CUES or word in _CHANGE for word in plain)
    found = _changed(plain) or _placed(words, plain)
    if found is None or not all(0 < len(part) <= most for part, most in zip(found, _WIDEST, strict=True)):
        return None
    return Statement(sentence, *found, update)


def _after_address(words: Sequence[str]) -> Sequence[str]:
    """Without "Maria:", "Hey Maria," or "Well," in front."""
    for at, word in enumerate(words[:4]):
        if word.endswith(":") or (word.endswith(",") and at < 3 and bare(words[0]) != "my"):
            return words[at + 1 :]
    return words


def conflict(old: Statement, new: Statement) -> bool:
    """Whether the new one takes the old one's place: about the same, with another value."""
    if set(new.value) <= set(old.value):
        return False
    ours, theirs = set(new.about), set(old.about)
    shared = len(ours & theirs) / len(ours | theirs)
    if shared == 1 or (new.update and shared >= _NEAR):
        return True
    return new.update and len(ours) > 1 and ours < theirs


def _changed(plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """ "I changed my desk number from 4 to 7": about {desk, number}, value {7}."""
    for at, word in enumerate(plain):
        if word in _CHANGE and "to" in plain[at + 1 :]:
            to = len(plain) - 1 - plain[::-1].index("to")
            about = plain[at + 1 : to]
            if "from" in about:
                about = about[: about.index("from")]
            named = _keys(about) or _keys(plain[:at])
            if not _keys(about) and word in _VERBS:
                return None
            return named, _keys(plain[to + 1 :], value=True)
    return None


def _placed(words: Sequence[str], plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    for at, word in enumerate(plain):
        if word in _VERBS and set(plain[at + 1 : at + 3]) & _VERBS[word][1]:
            about = (*_owner(plain[:at]), *_keys(plain[:at]), _VERBS[word][0])
            return (tuple(dict.fromkeys(about)), _keys(plain[at + 1 :], value=True)) if len(about) > 1 else None
        if word in _COPULAS:
            if word in ("i'm", "am"):
                return _self(words[at + 1 :])
            return (_keys(plain[:at]), _keys(plain[at + 1 :], value=True)) if _owned(words, plain, at) else None
    return None


def _owned(words: Sequence[str], plain: Sequence[str], at: int) -> bool:
    """Of somebody ("my", "Anna's"), or a thing whose value is a number or a name ("the door code is 4821")."""
    before = plain[:at]
    if _OWNED & set(before) or any(word.endswith("'s") for word in before):
        return True
    return "the" in before and any(kind in ("number", "name") for kind in kinds(words)[at + 1 :])


def _self(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """ "I am 34": one's age changes; "I am tired" and "I am a teacher" stand beside other things one is."""
    numbers = tuple(bare(word) for word, kind in zip(words, kinds(words), strict=True) if kind == "number")
    return (("i", "number"), numbers) if numbers and len(words) <= 4 else None


def _owner(plain: Sequence[str]) -> tuple[str, ...]:
    return ("i",) if "i" in plain or "i've" in plain or "i'm" in plain or "we" in plain else ()


def _keys(plain: Sequence[str], *, value: bool = False) -> tuple[str, ...]:
    """The words that carry something, stemmed a little."""
    kept: list[str] = []
    for word, kind in zip(plain, kinds(list(plain)), strict=True):
        keep = kind in ("content", "number", "name") or (value and kind == "negation")
        if keep and not (word in _PLAIN or word in _CUES or word in _CHANGE or _OPENING.match(word)):
            kept.append(stem(word))
    return tuple(dict.fromkeys(kept))


def stem(word: str) -> str:
    word = word.removesuffix("'s").replace("favorite", "favourite").replace("color", "colour")
    for ending in ("ies", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word[: -len(ending)] + {"ies": "y", "es": "e"}.get(ending, "")
    return word
