"""Policies of memory: what decides for a tenant now, what decided before, who changed it and why; and the labels."""

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

import msgspec

from anubhav.errors import BadInput, Busy
from anubhav.memory.learn import Example
from anubhav.memory.scoring import FIXED
from anubhav.store import memory_policies as rows
from anubhav.store.database import Connection, Database
from anubhav.types.memory import MemoryPolicy
from anubhav.types.remembering import PolicyChange

_ALL = 1 << 62


class MemoryPolicies:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, MemoryPolicy] = {}
        """By tenant: every request asks."""
        self._learning: set[str] = set()

    async def of(self, tenant: str) -> MemoryPolicy:
        """The one set by hand until something better was learned."""
        if tenant not in self._known:
            self._known[tenant] = await self._database.run(lambda c: rows.active(c, tenant)) or FIXED
        return self._known[tenant]

    @contextmanager
    def learning(self, tenant: str) -> Generator[None]:
        """The tenant's turn to learn. Raises Busy while it learns already."""
        if tenant in self._learning:
            raise Busy("These memories learn something already", hint="Wait for it.", retry_after=10)
        self._learning.add(tenant)
        try:
            yield
        finally:
            self._learning.discard(tenant)

    async def history(self, tenant: str, limit: int = 50) -> list[PolicyChange]:
        """Newest first."""
        return await self._database.run(lambda c: rows.history(c, tenant, limit))

    async def activate(self, tenant: str, policy: MemoryPolicy, who: str, why: str) -> PolicyChange:
        """It decides from the next request on."""
        change = PolicyChange(0, "activate", policy, who, why, time.time())
        await self._database.run(lambda c: rows.add_change(c, tenant, change))
        self._known[tenant] = policy
        return change

    async def discard(self, tenant: str, policy: MemoryPolicy, who: str, why: str) -> PolicyChange:
        """A candidate that was not good enough, for the record."""
        change = PolicyChange(0, "discard", policy, who, why, time.time())
        await self._database.run(lambda c: rows.add_change(c, tenant, change))
        return change

    async def rollback(self, tenant: str, who: str, why: str) -> PolicyChange:
        """To what decided before the active one. Raises BadInput where nothing did but the one set by hand."""
        change = await self._database.run(lambda c: _rollback(c, tenant, who, why))
        self._known[tenant] = change.policy
        return change

    async def label(self, tenant: str, feedback: str, episode: str, examples: Sequence[Example]) -> None:
        await self._database.run(lambda c: rows.add_label(c, tenant, feedback, episode, examples))

    async def ripe(self, least: int) -> list[str]:
        """Tenants with so many judged replies that nothing was learned from yet."""
        return await self._database.run(lambda c: rows.ripe(c, least))

    async def labels(self, tenant: str) -> list[tuple[str, tuple[Example, ...]]]:
        """By judged reply, newest first."""
        found = await self._database.run(lambda c: rows.labels(c, tenant))
        return [(episode, msgspec.json.decode(body, type=tuple[Example, ...])) for episode, body in found]


def _rollback(connection: Connection, tenant: str, who: str, why: str) -> PolicyChange:
    decided = _decided(reversed(rows.history(connection, tenant, _ALL)))
    if len(decided) == 1:
        raise BadInput("The memory policy set by hand decides already", hint="There is nothing before it.")
    change = PolicyChange(0, "rollback", decided[-2], who, why, time.time())
    rows.add_change(connection, tenant, change)
    return change


def _decided(history: Iterable[PolicyChange]) -> list[MemoryPolicy]:
    """What to go back through, the one that decides now last. One that was rolled back is not gone back to."""
    decided = [FIXED]
    for one in history:
        if one.action == "activate":
            decided.append(one.policy)
        while one.action == "rollback" and len(decided) > 1 and decided[-1].name != one.policy.name:
            decided.pop()
    return decided
