"""Statements: what a sentence is about and what it says of it, so that "my flat is in Pune" can be told to be outdated.

No grammar, only the shape of a claim: words before a form of "to be" (or a verb that has one answer at a time, such as
where somebody lives) say what it is about, words after it give the value. Of other sentences in the first person the
numbers and names are the value, and it is about the rest. What says itself that something changed ("now", "another",
"moved") replaces what shares half of what it is about and has a value of the same kind; else all must agree. What has
no such shape is never superseded: both then stand in memory, in the order they were said.
"""

import re
from collections.abc import Sequence

from anubhav.memory.kin import kin
from anubhav.memory.words import bare, kinds, stem
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
    rescheduled postponed shifted swapped became raised lowered""".split()  # noqa: SIM905
)
_CUES = frozenset(
    """now actually instead anymore longer currently current latest correction updated new since recently changed
    another wrong""".split()  # noqa: SIM905
)
_PLAIN = frozenset("called named name by at in on of to from for with as".split())  # noqa: SIM905
_OWNED = frozenset("my our his her their".split())  # noqa: SIM905
FIRST = frozenset("i i'm i've i'll my mine me we we're we've our us मैं मैंने मेरा मेरी मेरे मुझे हम हमारा हमारी हमारे".split())  # noqa: SIM905
_VAGUE = frozenset("number name time date day one i".split())  # noqa: SIM905
"""What two claims may share without being about the same."""
_LONGEST = 18
"""Words of a sentence that may be a claim; who tells a story says more."""
_NEAR = 0.5
"""Share of words in common that is enough where the sentence itself says that something changed."""
_WIDEST = (6, 8)
"""Words that carry, of what it is about and of the value."""
_OPENING = re.compile(r"^(?:well|so|oh|hey|hi|btw|by the way|just|also|and|but|ok|okay|fyi|update|correction)$")


def read_statement(sentence: int, words: Sequence[str]) -> Statement | None:
    """The claim of a sentence, or None. Questions claim nothing."""
    cues = {bare(word) for word in words} & (_CUES | _CHANGE)
    words = _after_address(words)
    if not words or len(words) > _LONGEST or words[-1].rstrip("\"')”’").endswith("?"):
        return None
    plain = [bare(word) for word in words]
    found = _changed(plain) or _placed(words, plain)
    event = found is None or not _sized(found)
    if found is None or event:
        found = _told(words, plain)
    return Statement(sentence, *found, bool(cues), event, _owners(words)) if _sized(found) else None


def _sized(found: tuple[tuple[str, ...], tuple[str, ...]]) -> bool:
    return all(0 < len(part) <= most for part, most in zip(found, _WIDEST, strict=True))


def _told(words: Sequence[str], plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of oneself, or of a thing that has something new: numbers and names are said, the other words it is about."""
    if not FIRST & set(plain) and not (plain[0] == "the" and {"new", "another"} & set(plain)):
        return (), ()
    value = [word for word, kind in zip(plain, kinds(words), strict=True) if kind in ("number", "name")]
    return _keys([word for word in plain if word not in value]), _keys(value, value=True)


def _owners(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(stem(bare(word)) for word in words if bare(word).endswith("'s") and kinds([word])[0] != "joining")


def _after_address(words: Sequence[str]) -> Sequence[str]:
    """Without "Maria:", "Hey Maria," or "Oh, and before I forget:" in front, where it tells nothing itself."""
    for at, word in enumerate(words[:6]):
        address = word.endswith(":") or (word.endswith(",") and at < 3 and bare(words[0]) != "my")
        if address and "number" not in kinds(words[: at + 1]):
            return _after_address(words[at + 1 :])
    return words


def conflict(old: Statement, new: Statement) -> bool:
    """Whether the new one takes the old one's place: about the same, with another value."""
    if set(new.value) <= set(old.value):
        return False
    ours, theirs = set(new.about), set(old.about)
    if ours == theirs and not new.event:
        return True
    return new.update and _number(old) == _number(new) and _alike(old, new)


def _alike(old: Statement, new: Statement) -> bool:
    ours, theirs = ({kin(word) for word in one.about} - _VAGUE for one in (new, old))
    if not {kin(word) for word in new.of} <= theirs or not {kin(word) for word in old.of} <= ours:
        return False
    shared = ours & (theirs | {kin(word) for word in old.value})
    return len(shared) >= _NEAR * min(len(ours), len(theirs)) > 0


def _number(one: Statement) -> bool:
    return any(letter.isdigit() for word in one.value for letter in word)


def _changed(plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """ "I changed my desk number from 4 to 7": about {desk, number}, value {7}."""
    for at, word in enumerate(plain):
        if word in _CHANGE and "to" in plain[at + 1 :]:
            to = len(plain) - 1 - plain[::-1].index("to")
            about = plain[at + 1 : to]
            if "from" in about:
                about = about[: about.index("from")]
            named = _keys(about) or _keys(plain[:at])
            if not _keys(about) and word in _VERBS and _owner(plain[:at]):
                return None
            return named, _keys(plain[to + 1 :], value=True)
    return None


def _placed(words: Sequence[str], plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    for at, word in enumerate(plain):
        if word in _VERBS and set(plain[at + 1 : at + 3]) & _VERBS[word][1] and _owner(plain[:at]):
            about = (*_owner(plain[:at]), *_keys(plain[:at]), _VERBS[word][0])
            return (tuple(dict.fromkeys(about)), _keys(plain[at + 1 :], value=True)) if len(about) > 1 else None
        if word in _COPULAS:
            if word in ("i'm", "am"):
                return _self(words[at + 1 :])
            owned = _owned(words, plain, at)
            return (_keys(plain[_clause(words, at) : at]), _keys(plain[at + 1 :], value=True)) if owned else None
    return None


def _clause(words: Sequence[str], at: int) -> int:
    """Where the part of the sentence begins that the word stands in."""
    return max((i + 1 for i in range(at - 1) if words[i].endswith((",", ";", ":"))), default=0)


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
