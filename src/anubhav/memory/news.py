"""News: which messages of a request were not heard yet, whether a client sends the whole history or only what is new.

All that is known of a session is its last request, as two digests:

1. A list that begins with the last request's messages and the reply to them is a history: what follows is new.
2. One that begins with the last request's messages alone is that request again, after a failure or for another answer:
   only what follows is new.
3. Of any other list (only the newest message, a window of a history, an edited one) what comes after its last finished
   answer is new.

What nothing was heard of before is new from its first message on. Spaces do not count: clients trim replies.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from anubhav.memory.cut import Said
from anubhav.types.chat import Message
from anubhav.types.remembering import Heard


@dataclass(frozen=True, slots=True)
class News:
    start: int
    """The first message that was not heard."""
    tail: int
    """The first of those that the reply answers: they stand in its prompt as they are."""


def find_news(messages: Sequence[Message], heard: Heard, salt: str) -> News:
    """`messages`: a request's, without system messages."""
    tail, asked = _tail(messages), heard.messages
    if heard.answered and digest(messages[: asked + 1], salt) == heard.answered:
        return News(asked + 1, tail)
    if digest(messages[:asked], salt) == heard.asked or not asked:
        return News(asked, tail)
    return News(tail, tail)


def ask(messages: Sequence[Message], heard: Heard, news: News, turns: int, salt: str) -> Heard:
    """What is known once a request was heard. `turns`: messages in the memory then."""
    again = news.start > news.tail
    first = heard.first if again else turns - (len(messages) - news.tail)
    return Heard(len(messages), digest(messages, salt), "", first)


def answer(heard: Heard, messages: Sequence[Message], reply: str, salt: str) -> Heard:
    """What is known once its reply was heard; the same where another request came in between."""
    if digest(messages, salt) != heard.asked:
        return heard
    return replace(heard, answered=digest([*messages, Message("assistant", reply)], salt))


def digest(messages: Sequence[Message], salt: str) -> str:
    found = hashlib.sha256(salt.encode())
    for message in messages:
        found.update(f"\0{message.role}\0{' '.join(words_of(message).split())}".encode())
    return found.hexdigest()


def words_of(message: Message) -> str:
    """A message as it is heard: its text, and what it asks of tools."""
    return "\n".join([message.content, *(f"{call.name} {call.arguments}" for call in message.tool_calls)]).strip()


def hear_message(message: Message, at: float, session: str) -> Said:
    return Said(message.role, words_of(message), at, session)


def _tail(messages: Sequence[Message]) -> int:
    """Behind the last finished answer. One that asks tools is not finished, nor is one that is to be gone on with."""
    for at in range(len(messages) - 2, -1, -1):
        if messages[at].role == "assistant" and not messages[at].tool_calls:
            return at + 1
    return 0
