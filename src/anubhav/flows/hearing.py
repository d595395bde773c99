"""Hearing: a served model's tokens and its surprise, the tenant's policy and its refiller, joined to keep a memory."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from anubhav.errors import AnubhavError, BadInput
from anubhav.flows.house import House
from anubhav.flows.writing import writer_of
from anubhav.memory.cut import Count, Said, cost
from anubhav.memory.keeper import SMALLEST, Keeper
from anubhav.memory.looking import Looking
from anubhav.memory.present import overhead
from anubhav.memory.refill import Rewrite
from anubhav.memory.shelf import newcomers
from anubhav.memory.surprise import Surprised
from anubhav.types.memory import Decision, Memory
from anubhav.types.remembering import Shelved

USUAL = 2048
"""Tokens of a budget, where the model reads enough."""
_AT_ONCE = 32
"""Messages heard together: what they cost grows with the square of it."""
_WEIGHED = 6_000
"""Letters of news that the model reads for its surprise; a tool's long output is not worth the seconds."""

Heard = tuple[Memory, tuple[Decision, ...]]
log = logging.getLogger(__name__)


async def hear(house: House, was: Shelved, said: Sequence[Said]) -> Heard:
    """Within its budget. In parts of a bounded cost each; nothing said: what is there, fitted."""
    budget = room(house, was)
    keeper = await _keeper(house, was, sum(len(one.text) for one in said))
    memory, decided = was.memory, list[Decision]()
    for at in range(0, max(len(said), 1), _AT_ONCE):
        before = memory
        memory, decisions = await keeper.hear(before, said[at : at + _AT_ONCE], budget)
        decided += [*newcomers(before, memory, decisions), *decisions]
    return memory, tuple(decided)


def count_of(house: House, base_model: str) -> Count:
    renderer = house.renderers[base_model]
    return lambda text: len(renderer.encode(text))


def counted(house: House, found: Shelved, base_model: str, budget: int) -> Shelved:
    """With this budget, and with the tokens of this model where another one kept it."""
    found = replace(found, budget=budget)
    if found.base_model == base_model:
        return found
    count = count_of(house, base_model)
    chunks = tuple(replace(one, tokens=cost(one.role, one.text, count)) for one in found.memory.chunks)
    return replace(found, base_model=base_model, memory=replace(found.memory, chunks=chunks))


def budget_for(house: House, base_model: str, asked: int | None) -> int:
    """Raises BadInput, telling the bounds."""
    least, most = SMALLEST + _heading(house, base_model), house.models[base_model].context_length // 2
    budget = min(USUAL, most) if asked is None else asked
    if not least <= budget <= most:
        raise BadInput(
            f"memory.budget is {budget} tokens",
            hint=f"With {base_model} it is {least} to {most}, which is half of what the model reads.",
        )
    return budget


def room(house: House, was: Shelved) -> int:
    """Tokens for chunks: the budget without the block's heading."""
    return was.budget - _heading(house, was.base_model)


def _heading(house: House, base_model: str) -> int:
    return overhead(count_of(house, base_model))


async def _keeper(house: House, was: Shelved, letters: int) -> Keeper:
    reader, renderer = house.readers[was.base_model], house.renderers[was.base_model]
    policy = await house.memory_policies.of(was.tenant)
    weigh = Surprised(reader, renderer, was.tenant) if letters <= _WEIGHED else None
    look = Looking(reader, renderer, policy, was.tenant)
    return Keeper(count_of(house, was.base_model), policy, weigh, look, await _writer(house, was, policy.refiller))


async def _writer(house: House, was: Shelved, refiller: str | None) -> Rewrite | None:
    """None: words are taken out."""
    if refiller is None:
        return None
    try:
        return await writer_of(house, was.tenant, was.base_model, refiller)
    except AnubhavError as problem:
        log.warning("%s has nobody who writes shorter: %s", was.id, problem)
        return None
