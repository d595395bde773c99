"""Remembering: what a request says is heard, what is remembered stands in its prompt, and its reply is heard as well.

The prompt is the system messages with the memory's block at their end, then what the reply answers, as it was sent. Who
sends a whole history gets the same: of its older part the block holds what the budget allows. Nothing is written before
it is sure that the prompt fits, and nothing at all for side turns and for requests that are not to be stored.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from anubhav.errors import BadInput, Busy, NotFound
from anubhav.flows.hearing import budget_for, counted, hear, room
from anubhav.flows.house import House
from anubhav.memory.cut import Said
from anubhav.memory.forgetting import asked_to_forget
from anubhav.memory.news import answer, ask, find_news, hear_message
from anubhav.memory.present import present
from anubhav.memory.shelf import Change, begin
from anubhav.serving.streams import room_after
from anubhav.types.chat import Message
from anubhav.types.remembering import MemoryUse, Shelved

_TRIES = 100
"""Changes of one memory that may come before one's own."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """A request, as far as memory is concerned."""

    use: MemoryUse
    messages: tuple[Message, ...]
    base_model: str
    episode: str
    session: str | None
    user: str | None
    writes: bool

    @property
    def spoken(self) -> list[Message]:
        return [message for message in self.messages if message.role != "system"]


@dataclass(frozen=True, slots=True)
class Remembered:
    asking: Asking
    memory: str
    messages: tuple[Message, ...]
    """For the prompt."""
    name: str | None
    """`<id>@<version>` of what they hold; None where nothing is kept of it."""


async def recall(house: House, tenant: str, asking: Asking) -> Remembered:
    """Raises BadInput, with nothing changed, for what cannot be remembered or does not fit."""
    key = _key(asking)
    budget = budget_for(house, asking.base_model, asking.use.budget)
    for _ in range(_TRIES):
        found = await house.memories.find(tenant, asking.use.scope, key)
        was = found or begin(tenant, asking.use.scope, key, time.time())
        remembered, change = await _hear_request(house, counted(house, was, asking.base_model, budget), asking)
        if change is None or not asking.writes:
            return replace(remembered, name=f"{was.id}@{was.memory.version}" if found else None)
        if await house.memories.keep(replace(change, expected=was.memory.version if found else None), was.memory):
            return remembered
    raise Busy("Too many requests change this memory at once", hint="Repeat it in a moment.")


async def keep(house: House, remembered: Remembered, tenant: str, reply: str) -> None:
    """Hear a reply that is whole. A memory that was deleted in between stays deleted."""
    asking = remembered.asking
    if not asking.writes:
        return
    redactor = await house.policies.redactor(tenant)
    said = [Said("assistant", redactor.text(reply) if redactor else reply, time.time(), asking.session or "")]
    for _ in range(_TRIES):
        try:
            found = await house.memories.get(tenant, remembered.memory)
            was = counted(house, found, asking.base_model, budget_for(house, asking.base_model, asking.use.budget))
            memory, decisions = await hear(house, was, said)
        except (NotFound, BadInput) as problem:
            log.info("the reply %s was not remembered: %s", asking.episode, problem)
            return
        heard = answer(await house.memories.heard(was.id, asking.session or ""), asking.spoken, reply, was.id)
        now = replace(was, memory=memory, updated_at=time.time())
        change = Change(now, was.memory.version, decisions, (), asking.episode, asking.session, heard)
        if await house.memories.keep(change, was.memory):
            return
    log.warning("the reply %s was not remembered: too many requests change its memory", asking.episode)


async def _hear_request(house: House, was: Shelved, asking: Asking) -> tuple[Remembered, Change | None]:
    """With the prompt's messages; no change where nothing is new."""
    spoken, session, now = asking.spoken, asking.session or "", time.time()
    heard = await house.memories.heard(was.id, session)
    news = find_news(spoken, heard, was.id)
    redactor = await house.policies.redactor(was.tenant)
    fresh = redactor.messages(spoken[news.start :]) if redactor else spoken[news.start :]
    said = [hear_message(message, now, session) for message in fresh]
    memory, decisions = was.memory, ()
    if said or memory.tokens > room(house, was):
        memory, decisions = await hear(house, was, said)
    asked = ask(spoken, heard, news, memory.turns, was.id)
    system = [message for message in asking.messages if message.role == "system"]
    messages = (*_with_block(system, present(memory, asked.first)), *spoken[news.tail :])
    room_after(house.renderers[asking.base_model].render(messages), house.models[asking.base_model])
    if memory is was.memory and asked == heard:
        return Remembered(asking, was.id, messages, None), None
    memory = replace(memory, version=max(memory.version, was.memory.version + 1))
    after = replace(was, memory=memory, user=asking.user or was.user, updated_at=now)
    named = tuple(words for one in said if one.role == "user" for words in asked_to_forget(one.text))
    change = Change(after, None, decisions, named, asking.episode, session, asked)
    return Remembered(asking, was.id, messages, f"{was.id}@{memory.version}"), change


def _with_block(system: Sequence[Message], block: str) -> list[Message]:
    if not block:
        return list(system)
    if not system:
        return [Message("system", block)]
    return [*system[:-1], replace(system[-1], content="\n\n".join(filter(None, (system[-1].content, block))))]


def _key(asking: Asking) -> str:
    if asking.use.scope == "session":
        if asking.session is None:
            raise BadInput("A memory of a session needs its name", hint="Send session_id, or the header X-Session-Id.")
        return asking.session
    if asking.user is None:
        raise BadInput("A memory of a user needs their name", hint="Send user.")
    return asking.user
