"""Telling: how a sentence says what it says, by the few words that give it away.

What stands for longer is told in the present, of oneself or of a definite thing, with a number or a name: a *record*.
What happened, what others say, what passes today, what is wished and what is asked for are told otherwise. Lists of
English words and a little Hindi; elsewhere nothing is recognised, and only names and numbers speak.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from anubhav.memory.words import Kind, bare, kinds, split, stem
from anubhav.types.memory import Chunk

KINDS = (
    "record", "dated", "code", "past", "hearsay", "passing", "request", "wondering", "lasting", "personal", "renewed",
)  # fmt: skip
"""Features told here; `renewed` is set where something is superseded."""
_PAST = frozenset(
    """was were had did went came saw said told gave took made got met ate drank ran won lost bought sold brought
    thought felt found left kept heard read knew began broke chose drew drove fell flew forgot grew held hit led
    lent paid rang rode rose sang sat sent shot slept spent spoke stood stole swam taught threw woke wore wrote
    built caught cut fought hid hurt put set shut understood became been done gone seen taken given written""".split()  # noqa: SIM905
)
_NO_PAST = frozenset("need feed speed seed bed red shed wed hundred breed weed".split())  # noqa: SIM905
_OTHERS = frozenset(
    """news paper papers newspaper article magazine radio tv television documentary quiz blog website internet
    headline scientists experts commentator villain presenter apparently supposedly""".split()  # noqa: SIM905
)
_TALE = re.compile(
    r"\b(?:they|people|somebody|someone|everybody|everyone|he|she|who) (?:also )?(?:say|says|said|claims?|claimed)\b|"
    r"\b(?:i|we) (?:just |once )?(?:read|heard|saw|watched|dreamt|dreamed)\b|\baccording to\b|"
    r"^(?:somebody|someone|nobody|a (?:man|woman|guy|friend))\b"
)
_PASSING = frozenset(
    """today tonight yesterday again late later soon lately earlier meanwhile almost already still yet just
    suddenly morning evening afternoon night weekend moment awful bored tired hungry funny weird strange
    strangest absurd""".split()  # noqa: SIM905
)
_WONDERING = frozenset("should would could might wish hope maybe perhaps if wonder guess suppose bet".split())  # noqa: SIM905
_REQUESTS = frozenset(
    """tell explain convert write give show help translate summarise summarize list describe suggest recommend
    compare calculate make rewrite find define name solve draw draft compose imagine create generate correct
    check fix read play sing let's please can could""".split()  # noqa: SIM905
)
_LASTING = frozenset(
    """always usually every each daily weekly monthly yearly called named name since permanent permanently
    favourite favorite prefer prefers own owns remember forget record reference note""".split()  # noqa: SIM905
)
_PERSONAL = frozenset(
    stem(word)
    for word in """wife husband spouse partner girlfriend boyfriend fiance mother mum mom father dad parent son daughter
    child
    kid baby brother sister sibling twin aunt uncle cousin niece nephew grandmother grandma grandfather grandpa
    family friend neighbour neighbor flatmate roommate landlord tenant dog cat pet puppy kitten rabbit horse
    parrot hamster vet home house flat apartment address street postcode room kitchen bedroom bathroom garden
    garage door gate entry key lock keypad alarm code pin password passcode passphrase username login email wifi
    router network phone mobile telephone number extension contact emergency account bank card debit credit iban
    balance savings salary wage payday rent mortgage loan debt instalment tax pension insurance policy premium
    budget bill fee subscription membership invoice job work employer company office boss manager supervisor
    colleague team project client deadline meeting standup shift desk badge title role department school
    university college course class lecture lesson exam grade degree major thesis teacher tutor professor
    student roll homework library locker combination club gym coach trainer training choir band instrument
    guitar piano violin hobby practise practice learning birthday anniversary wedding age born birth height
    weight weigh size shoe dress shirt ring eye hair blood allergy allergic diet vegetarian vegan medicine
    medication tablet pill dose doctor dentist physician therapist surgeon nurse hospital clinic appointment
    diagnosis prescription asthma diabetes glasses car bike bicycle registration plate licence license passport
    visa flight train bus seat gate terminal booking reservation reference ticket trip hotel departure arrival
    guide itinerary luggage parking commute station stop route plumber electrician gardener cleaner accountant
    lawyer solicitor agent barber hairdresser tailor mechanic babysitter nanny restaurant coffee tea breakfast
    lunch dinner recipe oven food dish drink wine religion church language nationality citizen hometown nickname
    surname name signature will savings shares goal target record unit storage membership""".split()  # noqa: SIM905
)
"""What people's own lives are made of."""
_OWN = frozenset("my our mine ours i i'm i've we we're we've us me मैं मेरा मेरी मेरे हमारा हमारी हमारे मुझे".split())  # noqa: SIM905
_YOU = frozenset("you your you're you've you'll yours".split())  # noqa: SIM905
_MONTHS = frozenset(
    """january february march april june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday""".split()  # noqa: SIM905
)
_CLOCK = re.compile(r"^\d{1,2}(?:[:.]\d{2})(?:am|pm)?$|^\d{1,2}(?:am|pm)$")
_YEAR = re.compile(r"^(?:1[5-9]|20)\d\d$")
_CODE = re.compile(r"^(?=.*\d)(?:\d{4,}|[a-z]+[-/]?\d[a-z\d-]*|\d+[-/]?[a-z][a-z\d-]*)$")
_UNIT = re.compile(r"^\d+(?:st|nd|rd|th|k|km|kg|g|m|cm|mm|am|pm|s|h|x|p)$")
_ADDRESS = 3
_OPENINGS = frozenset(("by the way", "just so you know", "for the record", "for your information", "while i remember"))
_THINGS = frozenset("my our the a an".split())  # noqa: SIM905
_LONGEST = 16
"""Words of a record; who tells a story says more."""


def parts(chunk: Chunk) -> dict[int, list[str]]:
    """The words of each of a chunk's sentences, by its number."""
    words = split(chunk.text)
    numbers = chunk.sentences if len(chunk.sentences) == len(words) else (0,) * len(words)
    found: dict[int, list[str]] = {}
    for number, word in zip(numbers, words, strict=True):
        found.setdefault(number, []).append(word)
    return found


@lru_cache(maxsize=4096)
def tell(words: tuple[str, ...]) -> dict[str, float]:
    """The features of one sentence, each once."""
    words = tuple(after_address(words))
    plain = [bare(word) for word in words]
    found = kinds(words)
    held = set(plain)
    told = {
        "dated": any(map(dated, plain)),
        "code": any(map(_coded, plain)),
        "past": any(map(_past, plain)),
        "hearsay": bool(held & _OTHERS) or bool(_TALE.search(" ".join(plain))),
        "passing": bool(held & _PASSING),
        "request": plain[0] in _REQUESTS or (plain[0] in ("please", "just") and len(plain) > 1),
        "wondering": bool(held & _WONDERING) or words[-1].rstrip("\"')”’").endswith("?"),
        "lasting": bool(held & _LASTING),
        "personal": any(map(personal, plain)),
    }
    told["record"] = _records(words, plain, found, told)
    return {name: 1.0 for name, here in told.items() if here}


def after_address(words: Sequence[str]) -> Sequence[str]:
    """Without "Maria:", "Hey Maria," or "Oh, and before I forget:" in front, where it tells nothing itself."""
    for at, word in enumerate(words[:6]):
        front, left = [bare(one) for one in words[: at + 1]], words[at + 1 :]
        spoken = at < _ADDRESS and not _THINGS & set(front)
        if word.endswith(":"):
            told = any(map(personal, front)) or "number" in kinds(words[: at + 1])
        else:
            spoken = spoken and not any(map(personal, front))
            told = not (word.endswith(",") and (spoken or " ".join(front) in _OPENINGS))
        if left and not told:
            return after_address(left)
    return words


def personal(word: str) -> bool:
    """Whether a bare word is of what people's own lives are made of."""
    return stem(word) in _PERSONAL


def _records(words: Sequence[str], plain: Sequence[str], found: Sequence[Kind], told: dict[str, bool]) -> bool:
    held = set(plain)
    if len(plain) > _LONGEST or held & _YOU or any(told[kind] for kind in ("hearsay", "request", "wondering")):
        return False
    named = any(kind == "name" and not _addressed(words, at) for at, kind in enumerate(found))
    if told["code"]:
        return True
    if told["past"] or told["passing"] or not (named or "number" in found):
        return False
    return bool(_OWN & held) or (told["personal"] and bool(held & {"the", "our"}))


def _addressed(words: Sequence[str], at: int) -> bool:
    """A name that somebody is called by: "Thanks, Maria!", "Hey James, ..."."""
    before, after = (words[at - 1] if at else ","), words[at]
    return before.endswith((",", ":")) and after[-1] in ",!.?:"


def dated(word: str) -> bool:
    """Whether a bare word is of a date or a time of day."""
    return word in _MONTHS or bool(_CLOCK.match(word))


def _coded(word: str) -> bool:
    return bool(_CODE.match(word)) and not _YEAR.match(word) and not _UNIT.match(word)


def _past(word: str) -> bool:
    return word in _PAST or (word.endswith("ed") and len(word) > 4 and word not in _NO_PAST)
