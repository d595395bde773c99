"""The meter: tokens read and written for each tenant, and whether its quota has room for more.

Counting holds no sample up: what was used while a write is under way goes with the next one. A crash forgets what waits
for that, milliseconds of use.
"""

import asyncio
import logging
from collections import Counter

from anubhav.errors import AnubhavError
from anubhav.store import quotas
from anubhav.store.database import Connection, Database
from anubhav.types.quotas import Quota

_GATHER = 0.05
"""Seconds in which what is used is written together."""
_PAUSE = 1.0
"""Seconds between attempts while the disk is full."""

log = logging.getLogger(__name__)


class Meter:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._fresh: Counter[str] = Counter()
        """Used and not yet written."""
        self._under_way: Counter[str] = Counter()
        self._writer: asyncio.Task[None] | None = None

    def room(self, connection: Connection, tenant: str) -> Quota:
        """The tenant's quota. Raises Spent when its tokens of the day are used up."""
        quota = quotas.find(connection, tenant)
        quota.check_tokens(quotas.tokens_today(connection, tenant) + self._fresh[tenant])
        return quota

    async def admit(self, tenant: str) -> None:
        """Raises Spent or Busy when a request that begins at once is one too many."""
        quota = await self._database.recall(("quota", tenant), lambda c: quotas.find(c, tenant))
        if quota.tokens_a_day is not None:
            quota = await self._database.run(lambda c: self.room(c, tenant))
        quota.check_queue(self._under_way[tenant])

    def begin(self, tenant: str) -> None:
        self._under_way[tenant] += 1

    def end(self, tenant: str, tokens: int) -> None:
        """Of a request that has begun."""
        self._under_way[tenant] -= 1
        if not self._under_way[tenant]:
            del self._under_way[tenant]
        if tokens:
            self._fresh[tenant] += tokens
            if self._writer is None or self._writer.done():
                self._writer = asyncio.create_task(self._write(), name="tokens used")

    async def stop(self) -> None:
        """Write what there is."""
        if self._writer:
            await asyncio.wait([self._writer], timeout=2 * _PAUSE)
            self._writer.cancel()

    async def _write(self) -> None:
        # Not before what this sample is for: that is waited for, and this is not.
        await asyncio.sleep(_GATHER)
        while used := dict(self._fresh):
            try:
                await self._database.run(lambda c, used=used: _spend(c, used))
            except AnubhavError as problem:
                log.warning("used tokens wait to be written: %s", problem)
                await asyncio.sleep(_PAUSE)
            else:
                self._fresh -= Counter(used)


def _spend(connection: Connection, used: dict[str, int]) -> None:
    for tenant, tokens in used.items():
        quotas.spend(connection, tenant, tokens)
