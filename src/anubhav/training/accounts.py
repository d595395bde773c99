"""Accounts: tokens trained, checkpoints saved and bytes kept, hour by hour, and the audit of who did what."""

import time
from collections import defaultdict
from dataclasses import dataclass

from anubhav.errors import BadInput
from anubhav.store import sessions, usage
from anubhav.store.database import Connection, Database
from anubhav.store.usage import HOUR, AuditRow, LogRow, Shelf
from anubhav.training.checkpoints import Checkpoints

__all__ = ["GIGABYTE", "HOUR", "Accounts", "AuditRow", "Bill", "LogRow", "Shelf", "Used"]

GIGABYTE = 1e9
_LONGEST = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Used:
    kind: str
    """training (in tokens), checkpoint (in checkpoints) or storage (in gigabyte-hours)."""
    hour: int
    """Seconds since the epoch at its beginning."""
    base_model: str
    quantity: float
    session: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    used: tuple[Used, ...]
    metadata: dict[str, dict[str, str]]
    """Of each session in it."""


class Accounts:
    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database, self._checkpoints = database, checkpoints

    async def bill(self, tenant: str, start: float, end: float) -> Bill:
        """What was used from `start` until `end`, which are whole hours, by hour. Raises BadInput for other windows."""
        now = time.time()
        if start % HOUR or end % HOUR:
            raise BadInput("The window does not begin and end at whole hours (UTC)", hint="Cut it at full hours.")
        if not start < end <= start + _LONGEST or start > now:
            raise BadInput(
                "The window is empty, longer than 14 days or in the future", hint="Ask for less, or for the past."
            )
        await self._checkpoints.expire()
        return await self._database.run(lambda c: _bill(c, tenant, start, end, now))

    async def shelves(self, tenant: str, project: str | None) -> list[Shelf]:
        """What lies here now, by project; of one project when it is given."""
        await self._checkpoints.expire()
        return await self._database.run(lambda c: usage.shelves(c, tenant, project))

    async def audit(self, tenant: str, resource: str, start: float, end: float) -> list[AuditRow]:
        """What was done from `start` until `end`, oldest first; with all kinds of resources when `resource` is ""."""
        await self._checkpoints.expire()
        return await self._database.run(lambda c: usage.audit(c, tenant, resource, start, end))

    async def log(self, tenant: str | None, before: int | None, limit: int) -> list[LogRow]:
        """What was done, newest first, a page at a time; every tenant's when `tenant` is None."""
        await self._checkpoints.expire()
        return await self._database.run(lambda c: usage.log(c, tenant, before, limit))


def _bill(connection: Connection, tenant: str, start: float, end: float, now: float) -> Bill:
    kept: defaultdict[tuple[int, str], float] = defaultdict(float)
    for row in usage.stored(connection, tenant, start, end):
        since, until = max(start, row.since), min(end, row.until or now)
        hour = int(since // HOUR) * HOUR
        while hour < until:
            seconds = min(until, hour + HOUR) - max(since, hour)
            kept[hour, row.base_model] += row.size_bytes * max(seconds, 0.0) / HOUR / GIGABYTE
            hour += HOUR
    used = [
        Used(kind, row.hour, row.base_model, row.count, row.session, row.project)
        for kind, rows in (
            ("training", usage.trained(connection, tenant, start, end)),
            ("checkpoint", usage.saved(connection, tenant, start, end)),
        )
        for row in rows
    ]
    used += [Used("storage", hour, base_model, quantity) for (hour, base_model), quantity in kept.items()]
    named = {row.session for row in used if row.session}
    found = {session: sessions.find(connection, tenant, session) for session in named}
    metadata = {session: info.metadata for session, info in found.items() if info}
    return Bill(tuple(sorted(used, key=lambda row: (row.hour, -row.quantity))), metadata)
