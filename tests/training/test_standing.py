"""What somebody is told who waits for an operation of a run: what comes first, and who takes turns."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from workshop import CREATE, TENANT, Workshop, learn

from anubhav.errors import NotFound
from anubhav.training.standing import Standing
from anubhav.types.ids import RunId
from anubhav.types.training import Pass

WORDS = (3, 7, 11, 5)


async def held_up(workshop: Workshop) -> asyncio.Event:
    """Passes wait at the trainer until the event is set."""
    gate, inner = asyncio.Event(), workshop.trainer.run

    async def run(passes: Sequence[Pass], **options: Any) -> Any:
        await gate.wait()
        return await inner(passes, **options)

    workshop.trainer.run = run  # pyright: ignore[reportAttributeAccessIssue]
    return gate


async def begun(workshop: Workshop, promise: str, tenant: str = TENANT) -> Standing:
    async with asyncio.timeout(5):
        while not (found := await workshop.desk.standing(tenant, promise)).begun:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return found


async def test_positions_are_those_of_the_run_and_of_the_engine(workshop: Workshop) -> None:
    run = await workshop.new_run()
    session = await workshop.desk.open_session("eve", [], {}, "test")
    theirs = RunId(f"{session}:train:0")
    await workshop.desk.promises.wait("eve", await workshop.desk.submit("eve", theirs, 0, CREATE), 10)
    gate = await held_up(workshop)
    mine = [await workshop.submit(run, number, learn(WORDS)) for number in (1, 2, 3)]
    assert await begun(workshop, mine[0]) == Standing(begun=True)
    assert await workshop.desk.standing(TENANT, mine[2]) == Standing(begun=False, ahead=2)
    other = [await workshop.desk.submit("eve", theirs, number, learn(WORDS)) for number in (1, 2)]
    await begun(workshop, other[0], "eve")
    assert await workshop.desk.standing(TENANT, mine[1]) == Standing(begun=False, ahead=1, others=2)
    assert await workshop.desk.standing("eve", other[1]) == Standing(begun=False, ahead=1, others=3)
    second = RunId(f"{run.rpartition(':')[0]}:1")
    await workshop.do(second, 0, CREATE)
    again = await workshop.submit(second, 1, learn(WORDS))
    assert await begun(workshop, again) == Standing(begun=True, runs=1, others=2)
    with pytest.raises(NotFound):
        await workshop.desk.standing("eve", mine[0])
    gate.set()
    for promise in (*mine, again):
        await workshop.wait(promise)
    for promise in other:
        await workshop.desk.promises.wait("eve", promise, 10)
    assert await workshop.desk.standing(TENANT, mine[2]) == Standing(begun=False)
