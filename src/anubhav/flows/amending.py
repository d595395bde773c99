"""Amending: what people do to a memory by hand, within its budget and with its ledger, whoever else changes it."""

import time
from collections.abc import Callable
from dataclasses import replace

from anubhav.errors import Busy, NotFound
from anubhav.flows.hearing import count_of, counted, hear
from anubhav.flows.house import House
from anubhav.memory import editing
from anubhav.memory.cut import Count
from anubhav.memory.editing import Edited
from anubhav.memory.shelf import Change, name
from anubhav.types.memory import Memory
from anubhav.types.remembering import Shelved

_TRIES = 100
_ANY = 1 << 40
"""Tokens: what does not fit is made to, by what is worth least."""


async def edit(house: House, tenant: str, memory: str, chunk: str, text: str) -> Shelved:
    """Raises NotFound, and BadInput where what is pinned would exceed the budget; so do the others."""
    return await _amend(house, tenant, memory, lambda now, count: editing.edit(now, chunk, text, _ANY, count))


async def pin(house: House, tenant: str, memory: str, chunk: str, *, on: bool) -> Shelved:
    return await _amend(house, tenant, memory, lambda now, _: editing.pin(now, chunk, on=on, budget=_ANY))


async def add_pin(house: House, tenant: str, memory: str, text: str) -> Shelved:
    """A pinned line that nobody said."""

    def add(now: Memory, count: Count) -> Edited:
        after, decisions = editing.add_pin(now, text, time.time(), _ANY, count)
        # Older than any message, so that no request takes it for one of its own.
        chunks = tuple(replace(one, turn=-1) if one.turn == now.turns else one for one in after.chunks)
        return replace(after, chunks=chunks), decisions

    return await _amend(house, tenant, memory, add)


async def forget_chunk(house: House, tenant: str, memory: str, chunk: str) -> Shelved:
    return await _amend(house, tenant, memory, lambda now, _: editing.forget(now, chunk))


async def forget_words(house: House, tenant: str, memory: str, words: str) -> Shelved:
    """Out of the memory and out of its ledger. Raises NotFound where neither speaks of them."""
    told = await house.memories.tells(memory, name(words))

    def forget(now: Memory, count: Count) -> Edited:
        try:
            return editing.forget_words(now, words, count)
        except NotFound:
            if told:
                return replace(now, version=now.version + 1), ()
            raise

    return await _amend(house, tenant, memory, forget, (name(words),))


async def _amend(
    house: House,
    tenant: str,
    memory: str,
    change: Callable[[Memory, Count], Edited],
    named: tuple[frozenset[str], ...] = (),
) -> Shelved:
    for _ in range(_TRIES):
        found = await house.memories.get(tenant, memory)
        base_model = found.base_model if found.base_model in house.models else next(iter(house.models))
        was = counted(house, found, base_model, found.budget)
        edited, decisions = change(was.memory, count_of(house, base_model))
        # Heard with nothing said: pins are checked, and what does not fit is made to.
        fitted, more = await hear(house, replace(was, memory=edited), [])
        fitted = replace(fitted, version=found.memory.version + 1)
        now = replace(was, memory=fitted, updated_at=time.time())
        if await house.memories.keep(Change(now, found.memory.version, (*decisions, *more), named), found.memory):
            return now
    raise Busy("Too many requests change this memory at once", hint="Repeat it in a moment.")
