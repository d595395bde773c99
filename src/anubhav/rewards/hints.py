"""What the next turn says of the answer before it: thanks, the same question again, giving up.

Weak, and off by default. Only plain signs count, and silence is none: most next turns say nothing. OpenClaw-RL
(arXiv:2603.10165) asks a model for this; a few words cost nothing and cannot be talked to.
"""

import re
from collections.abc import Sequence

from anubhav.types.chat import Message

_SHORT = 24
"""Words up to which a turn can be thanks or a farewell: in long ones these are courtesies."""
_ALIKE = 0.6
_THANKS = re.compile(
    r"\b(?:thanks|thank you|thx|perfect|great|awesome|exactly|that work(?:s|ed)|that helps?|that's right|correct)\b",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"\b(?:no thanks|not (?:perfect|great|exactly|correct|right|what)|thanks for nothing"
    r"|but|still|wrong|isn't|doesn't)\b",
    re.IGNORECASE,
)
_GIVING_UP = re.compile(
    r"\b(?:never ?mind|forget (?:it|about it)|(?:this|you)(?:'re| is| are) (?:useless|not helping|no help|hopeless)"
    r"|i(?:'ll| will) (?:do it myself|ask (?:someone|somebody) else|google)|i give up|talk to a human|real person)\b",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"^(?:no[,.!]|wrong\b|that(?:'s| is) (?:wrong|not (?:right|correct|true|what))|incorrect\b|you(?:'re| are) wrong)"
    r"|\bi (?:asked|meant|said)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_PLAIN = frozenset(
    ("a", "an", "the", "is", "are", "do", "does", "did", "to", "of", "in", "on", "for", "and", "or", "i", "you", "it",
     "me", "my", "please", "can", "could", "would")
)  # fmt: skip


def hint(messages: Sequence[Message]) -> float | None:
    """1 for thanks, 0 for a question asked again or given up, None for nothing. `messages` end with the new turn."""
    turns = [message for message in messages if message.role in ("user", "assistant")]
    if [message.role for message in turns[-3:]] != ["user", "assistant", "user"]:
        return None
    before, now = turns[-3].content, turns[-1].content.strip()
    if _GIVING_UP.search(now) or _WRONG.search(now) or _again(before, now):
        return 0.0
    if len(_WORD.findall(now)) <= _SHORT and _THANKS.search(now) and not _TAKEN_BACK.search(now):
        return 1.0
    return None


def _again(before: str, now: str) -> bool:
    """The same question in other words: most of the words that carry it come back."""
    first, second = _content(before), _content(now)
    if min(len(first), len(second)) < 2:
        return False
    return len(first & second) / len(first | second) >= _ALIKE


def _content(text: str) -> set[str]:
    return {word for word in map(str.lower, _WORD.findall(text)) if word not in _PLAIN}
