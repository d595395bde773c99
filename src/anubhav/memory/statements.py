"""Statements: what a sentence is about and what it says of it, so that "my flat is in Pune" can be told to be outdated.

No grammar, only the shape of a claim: words before a form of "to be" (or a verb that has one answer at a time, such as
where somebody lives) say what it is about, words after it give the value. Of other sentences in the first person the
numbers and names are the value, and it is about the rest. What says itself that something changed ("now", "another",
"moved") replaces what shares half of what it is about and has a value of the same kind; else all must agree. What has
no such shape is never superseded: both then stand in memory, in the order they were said.
"""

import re
from collections.abc import Sequence, Set
from itertools import pairwise

from anubhav.memory.kin import kin
from anubhav.memory.telling import after_address, dated, personal, tell
from anubhav.memory.words import bare, kinds, stem
from anubhav.types.memory import Statement

_COPULAS = frozenset("is are was were be became becomes equals = i'm am it's है हैं".split())  # noqa: SIM905
_SINGLE = {
    "live": (
        "live lives lived living moved move moving relocated relocate relocating reside resides shifted based "
        "settled settling",
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
    rescheduled postponed shifted swapped became raised lowered reset increased decreased corrected""".split()  # noqa: SIM905
)
_CUES = frozenset("now actually instead anymore longer currently correction updated changed wrong".split())  # noqa: SIM905
_OTHER_ONE = frozenset("new another current latest".split())  # noqa: SIM905
"""Say that something changed only of what they stand before ("a new doctor", not "new ideas")."""
_MOVES = frozenset("went goes rose climbed dropped fell jumped grew".split())  # noqa: SIM905
"""Change what they are said of, if they say to which number."""
_CUE = re.compile(
    r"^(?:from|as of|starting|since) (?:now|today|tomorrow|this|next|monday|tuesday|wednesday|thursday|friday|saturday|"
    r"sunday|january|february|march|april|may|june|july|august|september|october|november|december)\b|"
    r"\b(?:took|taken|takes) over\b|\bno longer\b|\bnot any ?more\b|\bthese days\b|\bturns out\b"
)
_PLAIN = frozenset("called named name by at in on of to from for with as".split())  # noqa: SIM905
_OWNED = frozenset("my our his her their".split())  # noqa: SIM905
FIRST = frozenset("i i'm i've i'll my mine me we we're we've our us मैं मैंने मेरा मेरी मेरे मुझे हम हमारा हमारी हमारे".split())  # noqa: SIM905
_YOU = frozenset("you your you're it it's that that's this".split())  # noqa: SIM905
_VAGUE = frozenset("number name time date day week month year today tomorrow morning evening one i".split())  # noqa: SIM905
"""What two claims may share without being about the same."""
_LONGEST = 18
"""Words of a sentence that may be a claim; who tells a story says more."""
_NEAR = 0.5
"""Share of words in common that is enough where the sentence itself says that something changed."""
_OTHER = 0.5
_PLACES = frozenset(map(kin, ("home", "work", "office")))
"""Where much is that people tell of."""
_BRIEF = 8
"""Words of a sentence whose last word may be what it says."""
_WIDEST = (8, 8)
"""Words that carry, of what it is about and of the value."""
_OPENING = re.compile(r"^(?:well|so|oh|hey|hi|btw|by the way|just|also|and|but|ok|okay|fyi|update|correction)$")


def read_statements(sentence: int, words: Sequence[str]) -> list[Statement]:
    """What a sentence claims; and one without words if it is put on record: shortened, it would not look like it."""
    claim = _read(sentence, words)
    record = "record" in tell(tuple(words)) or (claim and claim.update and set(kinds(words)) & {"number", "name"})
    return [*([claim] if claim else []), *([Statement(sentence, (), ())] if record else [])]


def _read(sentence: int, words: Sequence[str]) -> Statement | None:
    """The claim of a sentence, or None. Questions claim nothing."""
    said = after_address(words)
    changed = _says_changed([*map(bare, words)]) or _says_changed([*map(bare, said)])
    words = _after_time(said)
    if not words or len(words) > _LONGEST or not _claims(words):
        return None
    plain = [bare(word) for word in words]
    moved = _changed(plain)
    found = moved or _placed(words, plain)
    event = found is None or not _sized(found)
    if found is None or event:
        found = _told(words, plain)
    return Statement(sentence, *found, changed or moved is not None, event, _owners(words)) if _sized(found) else None


def _says_changed(plain: Sequence[str]) -> bool:
    """ "Now" at the beginning only goes on."""
    if set(plain[1:]) & _CUES or set(plain) & (_CHANGE | _CUES - {"now"}) or _CUE.search(" ".join(plain)):
        return True
    return any(word in _OTHER_ONE and _named(plain[at + 1 : at + 3]) for at, word in enumerate(plain))


def _named(plain: Sequence[str]) -> bool:
    return plain[:1] == ["one"] or any(map(personal, plain))


def _after_time(words: Sequence[str]) -> Sequence[str]:
    """Without "Since Monday" in front, which says when something changed and not what is so."""
    return words[2:] if len(words) > 2 and _CUE.match(" ".join(map(bare, words[:2]))) else words


def verbs(words: Sequence[str]) -> frozenset[str]:
    """What somebody says of where they live or work, whatever the form: "have been living in" is to live."""
    plain = [bare(word) for word in words]
    return frozenset(
        _VERBS[word][0]
        for at, word in enumerate(plain)
        if word in _VERBS and set(plain[at + 1 : at + 3]) & _VERBS[word][1] and _owner(plain[:at])
    )


def _claims(words: Sequence[str]) -> bool:
    """Neither asked nor asked for, nor somebody else's tale."""
    told = tell(tuple(words))
    return not (words[-1].rstrip("\"')”’").endswith("?") or "request" in told or "hearsay" in told)


def _sized(found: tuple[tuple[str, ...], tuple[str, ...]]) -> bool:
    return all(0 < len(part) <= most for part, most in zip(found, _WIDEST, strict=True))


def _told(words: Sequence[str], plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of oneself, or of a thing of one's life: numbers and names are said, the other words it is about."""
    told = tell(tuple(words))
    things = {"the", *_OTHER_ONE} & set(plain) and ("personal" in told or _says_changed(plain))
    if not FIRST & set(plain) and not things:
        return (), ()
    found = kinds(words)
    value = [word for word, kind in zip(plain, found, strict=True) if kind in ("number", "name")]
    changes = _says_changed(plain) and not _OTHER_ONE & set(plain)
    if (
        not value
        and len(words) <= _BRIEF
        and not _YOU & set(plain)
        and (changes or "personal" in told or "past" not in told)
    ):
        # "I practise the mandolin now": what it is about comes first, what is said of it last.
        value = [word for word in plain if _keys([word])][-1:]
    return _keys([word for word in plain if word not in value]), _keys(value, value=True)


def _owners(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(stem(bare(word)) for word in words if bare(word).endswith("'s") and kinds([word])[0] != "joining")


def conflict(old: Statement, new: Statement) -> bool:
    """Whether the new one takes the old one's place: about the same, with another value."""
    if set(new.value) <= set(old.value):
        return False
    if not (new.about and old.about):
        return False
    ours, theirs = set(new.about), set(old.about)
    if ours == theirs and not new.event:
        return True
    return new.update and _shape(old) == _shape(new) and _alike(old, new)


def _shape(one: Statement) -> str:
    """A date is replaced by a date, another number by another number, and words by words."""
    if any(map(dated, one.value)):
        return "date"
    return "number" if any(letter.isdigit() for word in one.value for letter in word) else "words"


def _alike(old: Statement, new: Statement) -> bool:
    ours, theirs = ({kin(word) for word in one.about} - _VAGUE for one in (new, old))
    if not {kin(word) for word in new.of} <= theirs or not {kin(word) for word in old.of} <= ours:
        return False
    shared = ours & theirs
    apart = (any(map(personal, one - shared)) for one in (ours, theirs))
    if all(apart) or ("i" in new.about and any(map(personal, theirs - shared))):
        return False  # the locker of the gym is not that of the library, nor where one works one's project there
    said = ours & {kin(word) for word in old.value} - shared
    return _weight(shared) + _OTHER * _weight(said) >= _NEAR * min(_weight(ours), _weight(theirs)) > 0


def _weight(words: Set[str]) -> float:
    """Words of people's lives say more of what a sentence is about than others."""
    return sum(1.0 if personal(word) and word not in _PLACES else _OTHER for word in words)


def _changed(plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """ "I changed my desk number from 4 to 7": about {desk, number}, value {7}."""
    for at, word in enumerate(plain):
        if (word in _CHANGE or (word in _MOVES and _to_number(plain))) and "to" in plain[at + 1 :]:
            to = len(plain) - 1 - plain[::-1].index("to")
            about = plain[at + 1 : to]
            if "from" in about:
                about = about[: about.index("from")]
            named = _keys(about) or _keys(plain[:at])
            if not _keys(about) and word in _VERBS and _owner(plain[:at]):
                return None
            return named, _keys(plain[to + 1 :], value=True)
    return None


def _to_number(plain: Sequence[str]) -> bool:
    return any(word == "to" and after[:1].isdigit() for word, after in pairwise(plain))


def _placed(words: Sequence[str], plain: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    for at, word in enumerate(plain):
        if word in _VERBS and set(plain[at + 1 : at + 3]) & _VERBS[word][1] and _owner(plain[:at]):
            about = (*_owner(plain[:at]), *_keys(plain[:at]), _VERBS[word][0])
            return (tuple(dict.fromkeys(about)), _keys(plain[at + 1 :], value=True)) if len(about) > 1 else None
        if word in _COPULAS:
            if word in ("i'm", "am"):
                if age := _self(words[at + 1 :]):
                    return age
                continue
            start, end = _clause(words, at), _end(words, at)
            before, after = set(plain[start:at]), set(plain[at + 1 : end])
            if _OWNED & after and not (_OWNED | {"the"}) & before:  # "Ann is my boss now"
                return _keys(plain[at + 1 : end]), _keys(plain[start:at], value=True)
            owned = _owned(words, plain, at)
            return (_subject(words, plain, at), _keys(plain[at + 1 : end], value=True)) if owned else None
    return None


def _subject(words: Sequence[str], plain: Sequence[str], at: int) -> tuple[str, ...]:
    """ "I lost my badge, the new number is ...": where the clause names no thing, what was said before it does."""
    named = _keys(plain[_clause(words, at) : at])
    return named if set(named) - _VAGUE else _keys(plain[:at])


def _clause(words: Sequence[str], at: int) -> int:
    """Where the part of the sentence begins that the word stands in."""
    return max((i + 1 for i in range(at - 1) if words[i].endswith((",", ";", ":"))), default=0)


def _end(words: Sequence[str], at: int) -> int:
    """Where it ends; a date or an amount goes on behind its comma."""
    ends = (i + 1 for i in range(at + 1, len(words)) if words[i].endswith((",", ";")))
    return next((end for end in ends if end < len(words) and not bare(words[end])[:1].isdigit()), len(words))


def _owned(words: Sequence[str], plain: Sequence[str], at: int) -> bool:
    """Of somebody ("my", "Anna's"), or a thing whose value is a number or a name ("the door code is 4821")."""
    before = plain[:at]
    if _OWNED & set(before) or any(word.endswith("'s") for word in before):
        return True
    told = any(kind in ("number", "name") for kind in kinds(words)[at + 1 :]) or "now" in plain
    return "the" in before and told


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
        if keep and not (word in _PLAIN | _CUES | _CHANGE | _OTHER_ONE or _OPENING.match(word)):
            kept.append(stem(word))
    return tuple(dict.fromkeys(kept))
