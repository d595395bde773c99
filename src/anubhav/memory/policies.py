"""Policies of memory: what decides for a tenant now, what decided before, who changed it and why; and the labels."""

import time
from collections.abc import Sequence

import msgspec

from anubhav.errors import BadInput
from anubhav.memory.learn import Example
from anubhav.memory.scoring import FIXED
from anubhav.store import memory_policies as rows
from anubhav.store.database import Connection, Database
from anubhav.types.memory import MemoryPolicy
from anubhav.types.remembering import PolicyChange


class MemoryPolicies:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, MemoryPolicy] = {}
        """By tenant: every request asks."""

    async def of(self, tenant: str) -> MemoryPolicy:
        """The one set by hand until something better was learned."""
        if tenant not in self._known:
            self._known[tenant] = await self._database.run(lambda c: rows.active(c, tenant)) or FIXED
        return self._known[tenant]

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

    async def labels(self, tenant: str) -> list[tuple[str, tuple[Example, ...]]]:
        """By judged reply, newest first."""
        found = await self._database.run(lambda c: rows.labels(c, tenant))
        return [(episode, msgspec.json.decode(body, type=tuple[Example, ...])) for episode, body in found]


def _rollback(connection: Connection, tenant: str, who: str, why: str) -> PolicyChange:
    now = rows.active(connection, tenant)
    if now is None or now.name == FIXED.name:
        raise BadInput("The memory policy set by hand decides already", hint="There is nothing before it.")
    activated = [one.policy for one in rows.history(connection, tenant, -1) if one.action == "activate"]
    names = [policy.name for policy in activated]
    older = activated[names.index(now.name) + 1 :] if now.name in names else []
    change = PolicyChange(0, "rollback", older[0] if older else FIXED, who, why, time.time())
    rows.add_change(connection, tenant, change)
    return change
