"""The book of laps: one runs at a time for an alias, each keeps its phase, and a crash leaves it interrupted."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from anubhav.errors import AnubhavError, Busy, NotFound
from anubhav.store import experience
from anubhav.store.database import Database
from anubhav.types.experience import Lap
from anubhav.types.ids import new_id

log = logging.getLogger(__name__)


class LapBook:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: dict[str, tuple[Lap, asyncio.Task[None] | None]] = {}

    async def recover(self) -> None:
        """Laps that a crash cut short are over; their feedback is unread and waits for the next lap."""
        for lap in await self._database.run(lambda c: list(experience.running_laps(c))):
            ended = replace(lap, state="interrupted", phase="interrupted", finished_at=time.time())
            await self._database.run(lambda c, ended=ended: experience.put_lap(c, ended))

    async def open(self, alias: str) -> Lap:
        """Raises Busy, naming it, while another lap of this alias runs."""
        if alias in self._running:
            raise Busy(f"{self._running[alias][0].id} is running for {alias}", hint="Wait for it.", retry_after=10)
        lap = Lap(new_id("lap"), alias, "running", "starting", time.time())
        self._running[alias] = (lap, None)
        await self._database.run(lambda c: experience.put_lap(c, lap))
        return lap

    def start(self, lap: Lap, work: Coroutine[Any, Any, None]) -> None:
        """Run the lap in the background; a failure is written into it."""
        self._running[lap.alias] = (lap, asyncio.create_task(self._guard(lap, work), name=lap.id))

    async def _guard(self, lap: Lap, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            await self._end(lap, "interrupted", "the server stopped")
            raise
        except AnubhavError as problem:
            log.warning("%s failed: %s", lap.id, problem)
            await self._end(lap, "failed", str(problem))
        except Exception:
            log.exception("%s failed", lap.id)
            await self._end(lap, "failed", "an error of ours; the log says which")
        finally:
            self._running.pop(lap.alias, None)

    async def _end(self, lap: Lap, state: Any, why: str) -> None:
        report = {**self.report(lap), "failure": why}
        ended = replace(lap, state=state, phase=state, report=report, finished_at=time.time())
        await self._database.run(lambda c: experience.put_lap(c, ended))

    def report(self, lap: Lap) -> dict[str, object]:
        """What the running lap has told so far."""
        return dict(self._running[lap.alias][0].report) if lap.alias in self._running else {}

    async def tell(self, lap: Lap, phase: str, **facts: object) -> None:
        """Where the lap is, for whoever watches."""
        told = replace(lap, phase=phase, report={**self.report(lap), **facts})
        self._running[lap.alias] = (told, self._running[lap.alias][1])
        await self._database.run(lambda c: experience.put_lap(c, told))

    async def find(self, lap: str) -> tuple[Lap, str | None]:
        """The lap and its evidence (JSON of the verdict with every score)."""
        found = await self._database.run(lambda c: experience.find_lap(c, lap))
        if found is None:
            raise NotFound(f"There is no lap {lap[:100]!r}", hint="List them with `anubhav laps`.")
        return found

    async def recent(self, alias: str | None = None, limit: int = 20) -> list[Lap]:
        """Newest first."""
        return await self._database.run(lambda c: experience.recent_laps(c, alias, limit))

    async def stop(self) -> None:
        tasks = [task for _, task in self._running.values() if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
