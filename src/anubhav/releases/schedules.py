"""Schedules: when an alias is due for a lap of its own accord. By default never: laps are begun by hand."""

import time
from dataclasses import replace

from anubhav.errors import BadInput
from anubhav.store import experience, schedules
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Lap
from anubhav.types.schedules import Schedule

_LEAST = 60.0


class Schedules:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, Schedule]:
        return await self._database.run(schedules.every)

    async def set(self, alias: str, schedule: Schedule | None) -> None:
        """None ends it. Raises BadInput for one that would never, or always, begin a lap."""
        if schedule is None:
            await self._database.run(lambda c: schedules.drop(c, alias))
            return
        if schedule.every is None and schedule.after is None:
            raise BadInput("A schedule needs a time or a number of judgements", hint="Give every, after, or both.")
        if schedule.every is not None and schedule.every < _LEAST:
            raise BadInput("Laps are a minute apart at least", hint="Give `every` in seconds, 60 or more.")
        if (schedule.after is not None and schedule.after < 1) or schedule.apart < 0:
            raise BadInput("A lap needs a judgement at least, and time does not go back", hint="Give 1 or more.")
        kept = replace(schedule, since=time.time())
        await self._database.run(lambda c: schedules.put(c, alias, kept))

    async def standing(self, stage: str, alias: str) -> tuple[int, float, Lap | None]:
        """Unread judgements, when the newest came, and the alias's last lap."""

        def look(connection: Connection) -> tuple[int, float, Lap | None]:
            last = next(iter(experience.recent_laps(connection, alias, 1)), None)
            return (*schedules.waiting(connection, stage, alias), last)

        return await self._database.run(look)


def due_at(schedule: Schedule, unread: int, newest: float, last: Lap | None) -> float | None:
    """When the next lap begins by what is known now, which may be past; None while something has to come first.

    A lap that ended without reading its feedback is not repeated before somebody said something new.
    """
    if not unread or (last and newest <= last.started_at):
        return None
    before = last.started_at if last else schedule.since
    times: list[float] = []
    if schedule.every is not None:
        times.append(before + schedule.every)
    if schedule.after is not None and unread >= schedule.after:
        times.append(newest)
    if not times:
        return None
    return max(min(times), last.started_at + schedule.apart) if last else min(times)
