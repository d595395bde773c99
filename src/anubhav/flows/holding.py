"""Holding: learning as a whole is stopped and let go on, laps that run included. Answers are not touched."""

from anubhav.flows.house import House
from anubhav.releases.laps import WHY
from anubhav.types.looking import Hold


async def hold_learning(house: House, who: str, why: str) -> Hold | None:
    """From now on no lap begins; those under way rest after the batch they are at."""
    await house.holds.set(who, why)
    for lap in house.laps.open_now:
        if lap.state == "running":
            await house.laps.pause(lap.id)
    return await house.holds.standing()


async def let_learn(house: House) -> None:
    """Laps that rest go on, but for those that found a reason themselves, and schedules count again."""
    await house.holds.lift()
    for lap in house.laps.open_now:
        if lap.state == "paused" and WHY not in lap.report:
            await house.laps.resume(lap.id)
