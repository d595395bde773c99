"""Later: replies that nobody waits for. A row each before it is acknowledged, so that what the end of a server cut off
is told as failed and never just missing; what was said is the episode's alone."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from anubhav.errors import AnubhavError, Busy, NotFound
from anubhav.store import talks
from anubhav.store.database import Connection, Database
from anubhav.types.talks import Deferred, DeferredState

Work = Callable[[Callable[[], None]], Awaitable[None]]
"""Says the reply, which is recorded before it ends; calls what it is given once the reply has begun."""
_MOST = 256
"""Of a tenant's under way at a time."""
_KEPT_SECONDS = 30 * 86_400.0
"""What came to nothing is told for so long."""
_CUT = ("Interrupted", "The server ended before the reply was whole. Ask again.")
log = logging.getLogger(__name__)


class Later:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._begun: set[str] = set()

    async def recover(self) -> None:
        """What was under way when the server ended has failed, unless its episode is there."""

        def recover(connection: Connection) -> None:
            for one in talks.waiting(connection):
                talks.end_deferred(connection, one.id, "failed", *_CUT)
            talks.drop_failed(connection, time.time() - _KEPT_SECONDS)

        await self._database.run(recover)

    async def begin(self, one: Deferred, work: Work) -> None:
        """Returns once it is kept. Raises Busy."""
        if sum(tenant == one.tenant for tenant, _ in self._tasks.values()) >= _MOST:
            raise Busy(f"{_MOST} replies are under way in the background", hint="Wait for some of them.")
        await self._database.run(lambda c: talks.add_deferred(c, one))
        self._tasks[one.id] = (one.tenant, asyncio.create_task(self._guard(one.id, work), name=one.id))

    async def find(self, tenant: str, name: str) -> Deferred | None:
        """None for what nobody deferred."""
        found = await self._database.run(lambda c: talks.find_deferred(c, tenant, name))
        begun = found is not None and found.state == "queued" and name in self._begun
        return Deferred(found.id, tenant, found.alias, found.created_at, "in_progress") if found and begun else found

    async def cancel(self, tenant: str, name: str) -> Deferred:
        """Twice is once; what was whole already stays. Raises NotFound for what nobody deferred."""
        if await self.find(tenant, name) is None:
            raise NotFound(f"No reply {name[:100]!r} was asked for in the background", hint="Name one that was.")
        await self._halt(name)
        await self._end(name, "cancelled")
        found = await self.find(tenant, name)
        assert found is not None
        return found

    async def drop(self, tenant: str, name: str) -> bool:
        """Whether there was one. It is said no further."""
        if await self.find(tenant, name) is None:
            return False
        await self._halt(name)
        return await self._database.run(lambda c: talks.drop_deferred(c, tenant, name))

    async def wait(self, name: str) -> None:
        """Until its task has ended."""
        if found := self._tasks.get(name):
            await asyncio.wait([found[1]])

    async def stop(self) -> None:
        for name in list(self._tasks):
            await self._halt(name)

    async def _halt(self, name: str) -> None:
        if found := self._tasks.get(name):
            found[1].cancel()
            await asyncio.gather(found[1], return_exceptions=True)

    async def _guard(self, name: str, work: Work) -> None:
        try:
            await work(lambda: self._begun.add(name))
            await self._end(name, "completed")
        except AnubhavError as problem:
            log.warning("%s failed: %s", name, problem)
            await self._end(name, "failed", type(problem).__name__, str(problem))
        except Exception as problem:
            log.exception("%s failed", name)
            await self._end(name, "failed", type(problem).__name__, "An error of ours; the server's log says which.")
        finally:
            self._begun.discard(name)
            self._tasks.pop(name, None)

    async def _end(self, name: str, state: DeferredState, code: str | None = None, problem: str | None = None) -> None:
        await self._database.run(lambda c: talks.end_deferred(c, name, state, code, problem))
