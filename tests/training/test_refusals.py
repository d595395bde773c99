"""What a refused operation leaves in the journal, and what comes behind it."""

import asyncio

import pytest
from workshop import STEP, TENANT, Workshop, learn

from anubhav.errors import AnubhavError, BadInput, Mismatch, Unavailable
from anubhav.training import turnstile
from anubhav.training.promises import Stepped
from anubhav.types.ids import RunId
from anubhav.types.training import PassResult

REFUSED = BadInput("The rate is NaN", hint="Send a number.")


async def refuse(workshop: Workshop, run: RunId, number: int, refusal: AnubhavError = REFUSED) -> None:
    """In its turn, so the caller hears of it."""
    with pytest.raises(type(refusal)) as caught:
        await workshop.desk.refuse(TENANT, run, number, refusal)
    assert caught.value is refusal


async def test_what_comes_behind_a_refused_operation_is_done(workshop: Workshop) -> None:
    run = await workshop.new_run()
    for number in (1, 2):
        await refuse(workshop, run, number)
    assert isinstance(await workshop.do(run, 3, learn((1, 2, 3))), PassResult)
    with pytest.raises(Mismatch, match="passed over"):
        await workshop.submit(run, 1, STEP)
    await refuse(workshop, run, 4)
    await workshop.restart()
    assert isinstance(await workshop.do(run, 5, STEP), Stepped)


async def test_its_number_is_free_until_then(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await refuse(workshop, run, 1)
    await workshop.restart()
    assert isinstance(await workshop.do(run, 1, learn((1, 2, 3))), PassResult)
    assert isinstance(await workshop.do(run, 2, STEP), Stepped)


async def test_one_that_came_too_early_is_told_by_a_promise(workshop: Workshop) -> None:
    run = await workshop.new_run()
    promises = [await workshop.desk.refuse(TENANT, run, number, REFUSED) for number in (3, 2)]
    assert await workshop.desk.promises.wait(TENANT, promises[0], 0.05) is None
    await workshop.restart()
    await workshop.submit(run, 1, learn((1, 2, 3)))
    outcomes = [await workshop.wait(promise) for promise in promises]
    assert [str(outcome) for outcome in outcomes] == [str(REFUSED)] * 2
    assert isinstance(await workshop.do(run, 4, STEP), Stepped)


async def test_only_what_is_final_and_ones_own_is_refused_so(workshop: Workshop) -> None:
    """Whatever is sent again must find its number free."""
    run = await workshop.new_run()
    await refuse(workshop, run, 1, Unavailable("The disk is full"))
    with pytest.raises(BadInput):
        await workshop.desk.refuse("mallory", run, 1, REFUSED)
    waiting = await workshop.submit(run, 2, STEP)
    await asyncio.sleep(0.05)
    assert await workshop.desk.promises.wait(TENANT, waiting, 0.05) is None
    done = await workshop.do(run, 1, learn((1, 2, 3)))
    await refuse(workshop, run, 1)
    assert await workshop.do(run, 1, learn((1, 2, 3))) == done
    assert isinstance(await workshop.wait(waiting), Stepped)


async def test_what_never_comes_is_passed_over(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_SOON", 0.05)
    run = await workshop.new_run()
    assert isinstance(await workshop.do(run, 4, STEP), Stepped)
    with pytest.raises(Mismatch, match="passed over"):
        await workshop.submit(run, 2, STEP)
    await workshop.restart()
    assert isinstance(await workshop.do(run, 5, learn((1, 2, 3))), PassResult)
