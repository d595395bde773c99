"""Accounts: every figure comes from what was journalled and saved."""

import time

import pytest
from workshop import STEP, TENANT, Workshop, learn, save

from anubhav.errors import BadInput
from anubhav.store import checkpoints as shelf
from anubhav.training.accounts import GIGABYTE, HOUR
from anubhav.training.promises import Saved

WORDS = (3, 7, 11, 5)


async def test_tokens_are_counted_once_whatever_is_replayed(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await workshop.do(run, 1, learn(WORDS, WORDS))
    await workshop.do(run, 2, STEP)
    await workshop.do(run, 3, learn(WORDS, backward=False))
    await workshop.restart()
    await workshop.do(run, 4, learn(WORDS))
    start = time.time() // HOUR * HOUR
    used = (await workshop.desk.accounts.bill(TENANT, start - HOUR, start + HOUR)).used
    assert sum(one.quantity for one in used if one.kind == "training") == 4 * (len(WORDS) - 1)
    assert not (await workshop.desk.accounts.bill("mallory", start - HOUR, start + HOUR)).used


async def test_storage_is_counted_while_it_lies_here(workshop: Workshop) -> None:
    run = await workshop.new_run()
    saved = await workshop.do(run, 1, save("kept"))
    assert isinstance(saved, Saved)
    kept = await workshop.desk.checkpoints.find(TENANT, saved.path)
    now = time.time()
    # As if it had been saved two hours and a half ago, and expired half an hour ago.
    await workshop.database.run(
        lambda c: c.execute("UPDATE storage SET since = ? WHERE path = ?", (now - 2.5 * HOUR, saved.path))
    )
    await workshop.database.run(lambda c: shelf.set_expiry(c, saved.path, now - 0.5 * HOUR))
    start = now // HOUR * HOUR
    used = (await workshop.desk.accounts.bill(TENANT, start - 4 * HOUR, start + HOUR)).used
    hours = [one for one in used if one.kind == "storage"]
    assert sum(one.quantity for one in hours) == pytest.approx(2 * kept.size_bytes / GIGABYTE)
    assert all(one.quantity <= kept.size_bytes / GIGABYTE * 1.0001 for one in hours)
    assert await workshop.desk.accounts.shelves(TENANT, None) == []
    events = await workshop.desk.accounts.audit(TENANT, "checkpoint_", 0, now + HOUR)
    assert [row.event for row in events] == ["checkpoint_create", "checkpoint_ttl_set", "checkpoint_expire"]


@pytest.mark.parametrize(("start", "hours"), [(1, 1), (0, 0), (0, -1), (0, 14 * 24 + 1), (1 << 40, 1)])
async def test_a_window_that_is_none_is_refused(workshop: Workshop, start: int, hours: int) -> None:
    with pytest.raises(BadInput):
        await workshop.desk.accounts.bill(TENANT, start * 1.0, start + hours * HOUR)
