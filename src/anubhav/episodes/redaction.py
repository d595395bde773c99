"""Redaction: what an operator's patterns find in a text is replaced before the text is kept.

Python's expressions backtrack, so a pattern is taken only if it can be shown to do little work: every repeat has an
upper bound, and the ways in which it could match from one place, counted over its parsed form, are few.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from anubhav.errors import BadInput
from anubhav.types.chat import Message
from anubhav.types.people import Pattern

# The expressions as Python itself reads them, for which there are no types.
words: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")
_WAYS = 20_000
_LONGEST = 500
_MOST = 32
_KEYS = r"\b(?:sk|tml|pk|rk|ghp|gho|glpat|xox[abprs]|hf|AKIA|AIza)[-_]?[A-Za-z0-9_-]{12,200}"
NAMED: Mapping[str, str] = {
    "email": r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}",
    "phone": r"(?<![\w.])(?:\+|00)?\d[\d ()./-]{6,18}\d(?!\w)",
    "card": r"(?<!\d)\d[\d -]{11,22}\d(?!\d)",
    "api-key": _KEYS,
}
"""What an operator can name instead of writing it. `card` also checks the last digit (Luhn, US patent 2,950,048)."""


@dataclass(frozen=True, slots=True)
class Redactor:
    rules: tuple[tuple[str, "re.Pattern[str]", Callable[[str], bool]], ...]

    def text(self, text: str) -> str:
        """With `[email]` and the like in the place of what was found."""
        for name, regex, check in self.rules:
            text = regex.sub(lambda found, name=name, check=check: f"[{name}]" if check(found[0]) else found[0], text)
        return text

    def messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        return tuple(map(self._message, messages))

    def _message(self, message: Message) -> Message:
        calls = tuple(replace(call, arguments=self.text(call.arguments)) for call in message.tool_calls)
        name = None if message.name is None else self.text(message.name)
        return replace(message, content=self.text(message.content), name=name, tool_calls=calls)


def checked(patterns: Iterable[Pattern]) -> tuple[Pattern, ...]:
    """The patterns, as they may be kept. Raises BadInput for one that is unknown, wrong or could take long."""
    found = tuple(patterns)
    if len(found) > _MOST or len({one.name for one in found}) < len(found):
        raise BadInput(f"At most {_MOST} patterns, each of its own name", hint="Join some of them with |.")
    redactor(found)
    return found


@cache
def redactor(patterns: tuple[Pattern, ...]) -> Redactor:
    return Redactor(tuple((one.name, _compile(one), _luhn if one == Pattern("card") else _always) for one in patterns))


def _compile(pattern: Pattern) -> "re.Pattern[str]":
    regex = pattern.regex or NAMED.get(pattern.name, "")
    if not regex:
        raise BadInput(f"There is no pattern {pattern.name[:50]!r}", hint=f"Use {', '.join(NAMED)}, or give its regex.")
    if len(regex) > _LONGEST:
        raise BadInput(f"The pattern {pattern.name} is longer than {_LONGEST} characters", hint="Split it in two.")
    try:
        compiled, parsed = re.compile(regex), parser.parse(regex)
    except (re.error, RecursionError, OverflowError) as problem:
        raise BadInput(f"The pattern {pattern.name} is no regular expression: {problem}", hint="Repair it.") from None
    if compiled.search(""):
        raise BadInput(f"The pattern {pattern.name} matches nothing at all", hint="Let it need a character.")
    if _ways(parsed) > _WAYS:
        raise BadInput(
            f"The pattern {pattern.name} could match in more than {_WAYS} ways from one place, which takes too long",
            hint="Repeat characters less often, and no group that repeats inside.",
        )
    return compiled


def _ways(parts: Iterable[tuple[Any, Any]]) -> int:
    """An upper bound of the ways to match a sequence from one place."""
    ways = 1
    for code, details in parts:
        ways = min(ways * _ways_of(code, details), _WAYS + 1)
    return ways


def _ways_of(code: Any, details: Any) -> int:
    if code in (words.MAX_REPEAT, words.MIN_REPEAT, words.POSSESSIVE_REPEAT):
        low, high, inner = details
        return _repeated(int(low), high, _ways(inner))
    if code is words.BRANCH:
        return sum(_ways(branch) for branch in details[1])
    if code is words.SUBPATTERN:
        return _ways(details[3])
    if code in (words.ASSERT, words.ASSERT_NOT):
        return _ways(details[1])
    if code is words.ATOMIC_GROUP:
        return _ways(details)
    if code in (words.GROUPREF, words.GROUPREF_EXISTS):
        raise BadInput("A pattern may not refer back to what it matched before", hint="Leave \\1 and the like out.")
    return 1


def _repeated(low: int, high: Any, inner: int) -> int:
    if high is words.MAXREPEAT:
        raise BadInput("A pattern may not repeat without end", hint="Write {0,64} for *, and {1,64} for +.")
    if high > 10_000:
        return _WAYS + 1
    ways = 0
    for times in range(low, int(high) + 1):
        ways += inner ** min(times, 16)
        if ways > _WAYS:
            return _WAYS + 1
    return ways


def _always(found: str) -> bool:
    return True


def _luhn(found: str) -> bool:
    digits = [int(sign) for sign in found if sign.isdigit()][::-1]
    if not 12 <= len(digits) <= 19:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(digits)]
    return sum(doubled) % 10 == 0
