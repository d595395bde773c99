"""Guarding: which chunks no budget may touch.

The latest words, what the client pinned, standing wishes a rule heard ("always answer in metres"), and questions nobody
has answered. Wishes and questions have a share of the budget; beyond it the oldest lose their guard, and the ledger
says so. What the client pinned is never let go in silence: a budget too small for it is refused.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from anubhav.errors import BadInput
from anubhav.memory.words import content
from anubhav.types.memory import Chunk

_WISH = re.compile(
    r"\b(?:always|from now on|call me|my name is|i prefer|i['’]d (?:rather|prefer)|i would prefer|"
    r"i never (?:eat|drink|want)|"
    r"please (?:never|do not|don['’]t|remember)|remember (?:that|this|to|:)|remind me|in future|allergic)\b|"
    r"(?:^|[.!]\s+)never\b|हमेशा|याद रख|कभी (?:मत|नहीं)",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\b(?:i don['’]t know|i do not know|not sure|let me (?:check|look|see)|i['’]ll (?:check|get back|look)|"
    r"i can['’]t (?:answer|say)|no idea|one moment)\b",
    re.IGNORECASE,
)
_WISHES = 0.3
_QUESTIONS = 0.15
_PINS = 0.75
"""Of the budget that clients' pins may hold together."""
_WINDOW = 256
"""Tokens of the latest words that no budget needs more of: what goes on in a conversation does not grow with it."""


def hear_wish(chunk: Chunk) -> Chunk:
    """Pinned by rule if a user's words are a standing wish."""
    wish = chunk.role == "user" and not chunk.pin and not chunk.text.endswith("?") and _WISH.search(chunk.text)
    return replace(chunk, pin="rule") if wish else chunk


def hear_questions(chunks: Sequence[Chunk], news: Sequence[Chunk]) -> list[Chunk]:
    """All chunks, the news last.

    A user's question is open until the next message; it stays open if that is the assistant's doubt ("let me check"),
    until the assistant speaks of it without any.
    """
    held = list(chunks)
    for chunk in news:
        answer = chunk.role == "assistant" and not _DOUBT.search(chunk.text)
        said = content(chunk.text)
        for i, old in enumerate(held):
            if old.open and old.turn < chunk.turn and _settled(old, chunk, answer=answer, said=said):
                held[i] = replace(old, open=False)
        held.append(replace(chunk, open=chunk.role == "user" and "?" in chunk.text))
    return held


def _settled(question: Chunk, chunk: Chunk, *, answer: bool, said: frozenset[str]) -> bool:
    if question.turn == chunk.turn - 1:
        return answer or chunk.role == "user"
    asked = content(question.text)
    return answer and len(asked & said) * 2 >= len(asked)


def check_pins(chunks: Sequence[Chunk], budget: int) -> None:
    """Raises BadInput where clients' pins leave the conversation too little room."""
    pinned, most = sum(chunk.tokens for chunk in chunks if chunk.pin == "client"), int(budget * _PINS)
    if pinned > most:
        raise BadInput(
            f"What is pinned needs {pinned} tokens; of a memory of {budget} tokens, pins may hold {most}",
            hint=f"Give it a budget of at least {math.ceil(pinned / _PINS)} tokens, or unpin or forget something.",
        )


def loosen(chunks: Sequence[Chunk], budget: int) -> list[Chunk]:
    """The oldest wishes and questions beyond their share of the budget lose their guard.

    What was said last takes no share: it is in the window, and most of its questions are answered at once.
    """
    wishes = questions = 0
    last = max((chunk.turn for chunk in chunks), default=0)
    loose: dict[str, Chunk] = {}
    for chunk in reversed(chunks):
        now = chunk
        if chunk.pin == "rule":
            wishes += chunk.tokens
            now = replace(now, pin="") if wishes > budget * _WISHES else now
        if chunk.open and chunk.turn < last:
            questions += chunk.tokens
            now = replace(now, open=False) if questions > budget * _QUESTIONS else now
        if now is not chunk:
            loose[chunk.id] = now
    return [loose.get(chunk.id, chunk) for chunk in chunks]


def window(chunks: Sequence[Chunk], budget: int, share: float) -> frozenset[str]:
    """The latest chunks that fit into their share of the budget, with no gap."""
    held: list[str] = []
    left = min(int(budget * share), _WINDOW)
    for chunk in reversed(chunks):
        left -= chunk.tokens
        if left < 0:
            break
        held.append(chunk.id)
    return frozenset(held)
