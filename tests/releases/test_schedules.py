"""When an alias is due for a lap."""

import pytest

from anubhav.errors import BadInput
from anubhav.releases.schedules import Schedules, due_at
from anubhav.store.database import Database
from anubhav.types.experience import Lap
from anubhav.types.schedules import Schedule


def lap(started: float) -> Lap:
    return Lap("lap_1", "default", "done", "done", started)


@pytest.mark.parametrize(
    ("schedule", "unread", "newest", "last", "due"),
    [
        (Schedule(every=100, since=50), 0, 0.0, None, None),
        (Schedule(every=100, since=50), 1, 60.0, None, 150.0),
        (Schedule(every=100, apart=10, since=50), 1, 220.0, lap(200), 300.0),
        (Schedule(every=100, since=50), 3, 190.0, lap(200), None),
        (Schedule(after=5, since=0), 4, 60.0, None, None),
        (Schedule(after=5, since=0), 5, 60.0, None, 60.0),
        (Schedule(after=5, apart=600, since=0), 9, 260.0, lap(200), 800.0),
        (Schedule(after=5, every=1000, since=0), 5, 60.0, None, 60.0),
    ],
    ids=["nothing new", "by the clock", "since the last", "said before the last", "few", "enough", "apart", "either"],
)
def test_due(schedule: Schedule, unread: int, newest: float, last: Lap | None, due: float | None) -> None:
    assert due_at(schedule, unread, newest, last) == due


async def test_a_schedule_is_kept_until_it_is_ended(database: Database) -> None:
    schedules = Schedules(database)
    await schedules.set("default", Schedule(after=20))
    kept = (await Schedules(database).all())["default"]
    assert kept.after == 20
    assert kept.since > 0
    await schedules.set("default", None)
    assert await schedules.all() == {}


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(every=1), Schedule(after=0)])
async def test_a_schedule_that_makes_no_sense_is_refused(database: Database, schedule: Schedule) -> None:
    with pytest.raises(BadInput):
        await Schedules(database).set("default", schedule)
