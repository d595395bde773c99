"""Words and their weight in a memory: which carry a fact (numbers, names, negations, content) and which only join.

Nothing here knows a language beyond a short list of joining words of English and Hindi; elsewhere the model's surprise
decides.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

Kind = Literal["number", "name", "negation", "content", "joining"]

_JOINING = frozenset(
    """a an the and or but if then so of to in on at for from with by as is are was were be been being am i you he she
    it we they me him us them his its our their this that these those do does did doing have has had having what when
    where who whom how why which will would can could should may might must just really very much lot like get got
    hey hi hello wow oh ah ok okay thanks thank great good nice awesome cool sounds sure yeah yes well also too here
    there some any about up out into over than more most such only own same i'm i've i'll i'd it's that's you're
    you've we're we've they're he's she's there's what's let's let gonna going know think thing things way one
    definitely absolutely totally actually maybe glad hear hope feel amazing
    और का के की को में से है हैं था थी थे हो ने पर यह वह ये वे तो भी ही जो कि एक हूँ हूं करता करती
    मैं आप तुम हम मेरा मेरी मेरे हमारा हमारी हमारे इस उस लिए साथ कर रहा रही रहे""".split()  # noqa: SIM905
)
_NEGATIONS = frozenset(
    """no not never none nobody nothing nor neither without cannot don't doesn't didn't won't can't isn't aren't wasn't
    weren't haven't hasn't hadn't wouldn't shouldn't couldn't stop stopped नहीं मत न ना बिना""".split()  # noqa: SIM905
)
_MINE = frozenset("my your mine yours".split())  # noqa: SIM905
POLITE = frozenset("noted got remember okay telling know done gone forgotten right keep mind".split())  # noqa: SIM905
"""What an answer says that adds nothing."""
_EDGES = "\"'“”‘’`()[]{}<>*_~.,;:!?…।-–—"
_TRIMMED = '"“”,;!()[]*_~'
_NUMBERS = frozenset(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million first second third
    monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
    october november december today yesterday tomorrow""".split()  # noqa: SIM905
)
TITLES = ("dr", "mr", "ms", "mrs", "st", "prof", "jr", "sr", "vs")
"""What ends with a dot and ends no sentence."""
_ENDS = re.compile(r"[.!?…।:]['\"”’)\]]*$")


_LONGEST = 40
"""Letters of a word: scripts without spaces, and what is no language at all, are cut into pieces of this length."""


def split(text: str) -> list[str]:
    return re.findall(rf"\S{{1,{_LONGEST}}}", text)


def trim(word: str) -> str:
    """Without the marks that cost a token and say nothing; ends of sentences stay."""
    return word.strip(_TRIMMED) or word


def bare(word: str) -> str:
    """Without the marks around it, in lower case, with straight apostrophes."""
    return word.replace("’", "'").strip(_EDGES).lower()


def stem(word: str) -> str:
    """A bare word without its plural's or owner's ending."""
    word = word.removesuffix("'s").replace("favorite", "favourite").replace("color", "colour")
    for ending in ("ies", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word[: -len(ending)] + {"ies": "y", "es": "e"}.get(ending, "")
    return word


def kinds(words: Sequence[str]) -> Sequence[Kind]:
    """One per word. A capital counts as a name only where no sentence begins."""
    return _kinds(tuple(words))


@lru_cache(maxsize=8192)
def _kinds(words: tuple[str, ...]) -> Sequence[Kind]:
    found: list[Kind] = []
    begins = True
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        titled = not begins and word == "The" and after[:1].isupper()  # "The Hague"
        found.append("name" if titled else _kind(word, begins=begins))
        begins = bool(_ENDS.search(word)) and bare(word) not in TITLES
    return tuple(found)


@lru_cache(maxsize=8192)
def content(text: str) -> frozenset[str]:
    """The bare words of a text that carry something."""
    words = split(text)
    return frozenset(bare(word) for word, kind in zip(words, kinds(words), strict=True) if kind != "joining")


def facts(text: str) -> frozenset[str]:
    """The numbers and names of a text, bare: what a shorter version must not invent."""
    words = split(text)
    return frozenset(
        bare(word) for word, kind in zip(words, kinds(words), strict=True) if kind in ("number", "name") and bare(word)
    )


def _kind(word: str, *, begins: bool) -> Kind:
    plain = bare(word)
    if any(letter.isdigit() for letter in plain) or (plain in _NUMBERS and plain != "second"):
        return "number"
    if plain in _NEGATIONS or plain.endswith("n't"):
        return "negation"
    if not plain or plain in _JOINING or plain in _MINE or plain.removesuffix("'s") in _JOINING:
        return "joining"
    letters = word.strip(_EDGES)
    return "name" if letters[:1].isupper() and (not begins or letters[1:2].isupper()) else "content"
