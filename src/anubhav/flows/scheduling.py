"""Scheduling: laps that begin by the clock or when enough was said, one at a time over all aliases; and what memories
learn when enough was said of them."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from anubhav.episodes.recorder import STAGE
from anubhav.errors import AnubhavError
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.memory_lessons import learn_due
from anubhav.releases.schedules import due_at
from anubhav.types.experience import Lap
from anubhav.types.schedules import Schedule

_SECONDS = 15.0
_WHO = "the schedule"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an alias stands with learning."""

    alias: str
    running: Lap | None
    unread: int
    schedule: Schedule | None
    next_at: float | None
    """When the schedule begins the next lap by what is known now; None: not before something new is said."""
    recent: tuple[Lap, ...]


async def stand(house: House, alias: str) -> Standing:
    schedule = (await house.schedules.all()).get(alias)
    unread, newest, last = await house.schedules.standing(STAGE, alias)
    recent = tuple(await house.laps.recent(alias, 6))
    running = next((lap for lap in recent if lap.state in ("running", "paused")), None)
    following = due_at(schedule, unread, newest, last) if schedule and not running else None
    return Standing(alias, running, unread, schedule, following, tuple(lap for lap in recent if lap != running))


async def begin_due(house: House, now: float) -> Lap | None:
    """Begin the lap that is due for longest, unless one runs."""
    if house.laps.busy:
        return None
    due: list[tuple[float, str]] = []
    for alias, schedule in (await house.schedules.all()).items():
        at = due_at(schedule, *await house.schedules.standing(STAGE, alias))
        if at is not None and at <= now:
            due.append((at, alias))
    for _, alias in sorted(due):
        try:
            return await start_lap(house, alias, _WHO)
        except AnubhavError as problem:
            # Nothing in it can be learned from, or somebody was faster.
            log.info("%s has no lap now: %s", alias, problem)
    return None


async def keep_schedules(house: House, *, seconds: float = _SECONDS, clock: Callable[[], float] = time.time) -> None:
    """Look for what is due again and again, until it is cancelled."""
    while True:
        await asyncio.sleep(seconds)
        try:
            if await house.holds.standing() is None:
                await begin_due(house, clock())
                await learn_due(house)
        except Exception:
            log.exception("what is due could not be looked for")
