"""The book of laps: one runs at a time for an alias, each keeps its phase, and a crash leaves it interrupted."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal

from anubhav.errors import AnubhavError, Busy, NotFound
from anubhav.store import experience
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Lap
from anubhav.types.ids import new_id

log = logging.getLogger(__name__)


class LapBook:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: dict[str, Lap] = {}
        """By alias, as last told."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def recover(self) -> None:
        """Laps that a crash cut short are over; their feedback is unread and waits for the next lap."""
        for lap in await self._database.run(lambda c: list(experience.running_laps(c))):
            await self._end(lap, "interrupted", "the server ended while it ran")

    def open(self, alias: str) -> Lap:
        """The alias's turn, for now in memory alone. Raises Busy, naming it, while another lap of this alias runs."""
        if alias in self._open:
            raise Busy(f"{self._open[alias].id} is running for {alias}", hint="Wait for it.", retry_after=10)
        self._open[alias] = Lap(new_id("lap"), alias, "running", "starting", time.time())
        return self._open[alias]

    def give_up(self, lap: Lap) -> None:
        """It was opened and never started."""
        self._open.pop(lap.alias, None)

    async def start(self, lap: Lap, work: Callable[[Lap], Awaitable[None]]) -> None:
        """Keep the lap and run it in the background; a failure is written into it."""
        await self._database.run(lambda c: experience.put_lap(c, lap))
        self._tasks[lap.alias] = asyncio.create_task(self._guard(lap, work), name=lap.id)

    async def wait(self, lap: Lap) -> Lap:
        """The lap when it has ended."""
        if task := self._tasks.get(lap.alias):
            await asyncio.wait([task])
        return (await self.find(lap.id))[0]

    async def _guard(self, lap: Lap, work: Callable[[Lap], Awaitable[None]]) -> None:
        try:
            await work(lap)
        except asyncio.CancelledError:
            await self._end(self._open[lap.alias], "interrupted", "the server stopped")
            raise
        except AnubhavError as problem:
            log.warning("%s failed: %s", lap.id, problem)
            await self._end(self._open[lap.alias], "failed", str(problem))
        except Exception:
            log.exception("%s failed", lap.id)
            await self._end(self._open[lap.alias], "failed", "an error of ours; the log says which")
        finally:
            del self._open[lap.alias], self._tasks[lap.alias]

    async def _end(self, lap: Lap, state: Literal["failed", "interrupted"], why: str) -> None:
        report = {**lap.report, "failure": why}
        ended = replace(lap, state=state, phase=state, report=report, finished_at=time.time())

        def work(connection: Connection) -> None:
            found = experience.find_lap(connection, lap.id)
            # One that was settled a moment before it was stopped stays settled.
            if found and found[0].state == "running":
                experience.put_lap(connection, ended)

        await self._database.run(work)

    def report(self, lap: Lap) -> dict[str, object]:
        """What the running lap has told so far."""
        return dict(self._open[lap.alias].report)

    async def tell(self, lap: Lap, phase: str, **facts: object) -> None:
        """Where the lap is, for whoever watches."""
        told = replace(lap, phase=phase, report={**self.report(lap), **facts})
        self._open[lap.alias] = told
        await self._database.run(lambda c: experience.put_lap(c, told))

    async def find(self, lap: str) -> tuple[Lap, str | None]:
        """The lap and its evidence (JSON of the verdict with every score)."""
        found = await self._database.run(lambda c: experience.find_lap(c, lap))
        if found is None:
            raise NotFound(f"There is no lap {lap[:100]!r}", hint="List them: GET /v1/laps.")
        return found

    async def recent(self, alias: str | None = None, limit: int = 20) -> list[Lap]:
        """Newest first."""
        return await self._database.run(lambda c: experience.recent_laps(c, alias, limit))

    async def stop(self) -> None:
        """End what runs; it is told as interrupted."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
