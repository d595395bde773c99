"""The book of laps: one runs at a time for an alias, can be paused and cancelled between batches, and keeps its phase.

A lap that a crash or a stop cuts short is interrupted: its feedback is unread, and the next start begins it again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, Literal

from anubhav.errors import AnubhavError, BadInput, Busy, NotFound
from anubhav.store import experience
from anubhav.store.database import Connection, Database
from anubhav.telemetry.metrics import count_lap
from anubhav.telemetry.notes import noting
from anubhav.types.experience import Lap
from anubhav.types.ids import new_id

WHY: Final = "rests_because"
"""In the report of a lap that paused by itself."""
Told = Callable[[Lap, Mapping[str, object], bool], None]
"""Hears what a lap tells, and whether it has ended."""
log = logging.getLogger(__name__)


class LapBook:
    def __init__(self, database: Database, told: Told | None = None) -> None:
        self._database, self._told = database, told
        self._open: dict[str, Lap] = {}
        """By alias, as last told."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._going: dict[str, asyncio.Event] = {}
        """By alias; clear while the lap is paused."""
        self._cancelled: dict[str, str] = {}
        """By alias: who asked."""
        self._clocks: dict[str, _Clock] = {}
        """By alias."""

    async def recover(self) -> list[Lap]:
        """Laps that a crash cut short are over; their feedback is unread.

        Returns what is to be begun again: the last lap of each alias that a crash or a stop interrupted. One that was
        paused then is cancelled instead.
        """
        for lap in await self._database.run(lambda c: list(experience.running_laps(c))):
            if lap.state == "paused":
                await self._end(lap, "cancelled", "the server ended while it was paused")
            else:
                await self._end(lap, "interrupted", "the server ended while it ran")
        return [lap for lap in await self._database.run(experience.last_laps) if lap.state == "interrupted"]

    @property
    def busy(self) -> bool:
        """Whether any lap runs; one that is paused does not."""
        return any(lap.state == "running" for lap in self._open.values())

    @property
    def open_now(self) -> list[Lap]:
        """Those that began, running or paused."""
        return [lap for alias, lap in self._open.items() if alias in self._tasks]

    def open(self, alias: str) -> Lap:
        """The alias's turn, for now in memory alone. Raises Busy, naming it, while another lap of this alias runs."""
        if alias in self._open:
            raise Busy(f"{self._open[alias].id} is running for {alias}", hint="Wait for it.", retry_after=10)
        self._open[alias] = Lap(new_id("lap"), alias, "running", "starting", time.time())
        self._clocks[alias] = _Clock("starting")
        return self._open[alias]

    def give_up(self, lap: Lap) -> None:
        """It was opened and never started."""
        self._open.pop(lap.alias, None)
        self._clocks.pop(lap.alias, None)

    async def start(self, lap: Lap, work: Callable[[Lap], Awaitable[None]]) -> None:
        """Keep the lap and run it in the background; a failure is written into it."""
        await self._database.run(lambda c: experience.put_lap(c, lap))
        self._going[lap.alias] = asyncio.Event()
        self._going[lap.alias].set()
        self._tasks[lap.alias] = asyncio.create_task(self._guard(lap, work), name=lap.id)

    async def wait(self, lap: Lap) -> Lap:
        """The lap when it has ended."""
        if task := self._tasks.get(lap.alias):
            await asyncio.wait([task])
        return (await self.find(lap.id))[0]

    async def breathe(self, lap: Lap) -> None:
        """Between two batches: stay here while the lap is paused."""
        await self._going[lap.alias].wait()

    async def pause(self, name: str, why: str = "") -> Lap:
        """After the batch under way, rest until it is resumed. Raises BadInput for a lap that does not run.

        `why`: what a lap that pauses of its own accord has found. Such a one goes on only when it is resumed by name.
        """
        lap = await self._running(name)
        self._going[lap.alias].clear()
        return await self._turn(lap, "paused", why)

    async def resume(self, name: str) -> Lap:
        """Go on at the next batch. Raises BadInput for a lap that does not run."""
        lap = await self._running(name)
        going = await self._turn(lap, "running")
        self._going[lap.alias].set()
        return going

    async def cancel(self, name: str, who: str) -> Lap:
        """End it without a verdict; its feedback stays unread. Raises BadInput for a lap that does not run."""
        lap = await self._running(name)
        self._cancelled[lap.alias] = who
        task = self._tasks[lap.alias]
        task.cancel()
        await asyncio.wait([task])
        return (await self.find(name))[0]

    async def _running(self, name: str) -> Lap:
        found, _ = await self.find(name)
        lap = self._open.get(found.alias)
        if lap is None or lap.id != name or found.alias not in self._tasks:
            raise BadInput(f"{name} is {found.state}", hint="Only a lap that runs can be paused, resumed or cancelled.")
        return lap

    async def _turn(self, lap: Lap, state: Literal["running", "paused"], why: str = "") -> Lap:
        report = {name: fact for name, fact in self._open[lap.alias].report.items() if name != WHY}
        told = {**report, WHY: why} if why else report
        turned = self._open[lap.alias] = replace(self._open[lap.alias], state=state, report=told)
        await self._database.run(lambda c: experience.put_lap(c, turned))
        return turned

    async def _guard(self, lap: Lap, work: Callable[[Lap], Awaitable[None]]) -> None:
        try:
            with noting(lap=lap.id, alias=lap.alias):
                await work(lap)
        except asyncio.CancelledError:
            if who := self._cancelled.pop(lap.alias, None):
                await self._end(self._open[lap.alias], "cancelled", f"cancelled by {who}")
                return
            await self._end(self._open[lap.alias], "interrupted", "the server stopped")
            raise
        except AnubhavError as problem:
            log.warning("%s failed: %s", lap.id, problem)
            await self._end(self._open[lap.alias], "failed", str(problem))
        except Exception:
            log.exception("%s failed", lap.id)
            await self._end(self._open[lap.alias], "failed", "an error of ours; the log says which")
        finally:
            del self._open[lap.alias], self._tasks[lap.alias], self._going[lap.alias], self._clocks[lap.alias]

    async def _end(self, lap: Lap, state: Literal["failed", "cancelled", "interrupted"], why: str) -> None:
        report = {**lap.report, "failure": why}
        ended = replace(lap, state=state, phase=state, report=report, finished_at=time.time())

        def work(connection: Connection) -> bool:
            found = experience.find_lap(connection, lap.id)
            # One that was settled a moment before it was stopped stays settled.
            if found and found[0].state in ("running", "paused"):
                experience.put_lap(connection, ended)
                return True
            return False

        if await self._database.run(work):
            count_lap(state)
            self.pass_on(ended, {}, ended=True)

    def report(self, lap: Lap) -> dict[str, object]:
        """What the running lap has told so far, and the seconds that each phase took."""
        return {**self._open[lap.alias].report, "seconds": self._clocks[lap.alias].read()}

    async def tell(self, lap: Lap, phase: str, **facts: object) -> None:
        """Where the lap is, for whoever watches."""
        self._clocks[lap.alias].turn(phase)
        told = replace(self._open[lap.alias], phase=phase, report={**self.report(lap), **facts})
        self._open[lap.alias] = told
        await self._database.run(lambda c: experience.put_lap(c, told))
        self.pass_on(told, facts)

    def pass_on(self, lap: Lap, facts: Mapping[str, object], *, ended: bool = False) -> None:
        """To whoever listens; of one that was settled, by who settled it."""
        if self._told:
            self._told(lap, facts, ended)

    async def find(self, lap: str) -> tuple[Lap, str | None]:
        """The lap and its evidence (JSON of the verdict with every score)."""
        found = await self._database.run(lambda c: experience.find_lap(c, lap))
        if found is None:
            raise NotFound(f"There is no lap {lap[:100]!r}", hint="List them: GET /v1/laps.")
        return found

    async def recent(self, alias: str | None = None, limit: int = 20, before: str | None = None) -> list[Lap]:
        """Newest first; those begun before the lap `before`, when it is named."""
        return await self._database.run(lambda c: experience.recent_laps(c, alias, limit, before))

    async def stop(self) -> None:
        """End what runs; it is told as interrupted."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Clock:
    """How long a lap was in each of its phases, pauses included."""

    def __init__(self, phase: str) -> None:
        self._phase, self._since = phase, time.monotonic()
        self._parts: dict[str, float] = {}

    def turn(self, phase: str) -> None:
        """To this phase; what went by belongs to the one before."""
        now = time.monotonic()
        self._parts[self._phase] = self._parts.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def read(self) -> dict[str, float]:
        self.turn(self._phase)
        return {phase: round(seconds, 1) for phase, seconds in self._parts.items()}
