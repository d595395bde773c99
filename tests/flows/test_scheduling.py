"""Laps that begin of their own accord, over the fake backend."""

import asyncio
import time

from test_trying import TAUGHT, ask, house, server

from anubhav.episodes.recorder import Given
from anubhav.flows.house import House
from anubhav.flows.react import react
from anubhav.flows.scheduling import begin_due, keep_schedules, stand
from anubhav.types.schedules import Schedule

__all__ = ["house", "server"]


async def correct(house: House) -> None:
    name, _ = await ask(house, None)
    await react(house, "ada", [Given(name, "correction", text=TAUGHT)])


async def test_enough_judgements_begin_a_lap_and_the_same_ones_no_other(house: House) -> None:
    await house.schedules.set("default", Schedule(after=2, apart=0))
    await correct(house)
    assert await begin_due(house, time.time()) is None
    assert (await stand(house, "default")).next_at is None
    await correct(house)
    assert (await stand(house, "default")).next_at is not None
    lap = await begin_due(house, time.time())
    assert lap
    assert await begin_due(house, time.time()) is None
    assert (await stand(house, "default")).running
    await house.laps.wait(lap)
    assert await begin_due(house, time.time() + 10_000) is None


async def test_the_clock_begins_a_lap_of_what_was_said(house: House) -> None:
    await house.schedules.set("default", Schedule(every=3600))
    await correct(house)
    assert await begin_due(house, time.time() + 3500) is None
    clock = asyncio.create_task(keep_schedules(house, seconds=0.01, clock=lambda: time.time() + 3700))
    for _ in range(1000):
        await asyncio.sleep(0.02)
        if laps := await house.laps.recent("default"):
            break
    clock.cancel()
    await asyncio.gather(clock, return_exceptions=True)
    assert len(laps) == 1
    await house.laps.cancel(laps[0].id, "ada")
    found = await stand(house, "default")
    assert (found.unread, found.running) == (1, None)
