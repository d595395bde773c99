"""Quotas at the desk: what is refused, with which error, and that a refusal changes nothing."""

import pytest
from workshop import CREATE, STEP, TENANT, Workshop, learn, save

from anubhav.errors import AnubhavError, Busy, NotAllowed, Spent
from anubhav.store import quotas, runs
from anubhav.training.copies import Copy
from anubhav.training.promises import Saved
from anubhav.types.checkpoints import parse_path
from anubhav.types.ids import RunId
from anubhav.types.quotas import Quota, Use
from anubhav.types.training import PassResult

WORDS = (3, 7, 11, 5)
TOKENS = len(WORDS) - 1


async def limit(workshop: Workshop, quota: Quota) -> None:
    await workshop.database.run(lambda c: quotas.keep(c, TENANT, quota))


async def used(workshop: Workshop) -> Use:
    return await workshop.database.run(lambda c: quotas.use(c, TENANT))


async def test_tokens_are_counted_once_and_the_last_pass_is_whole(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await limit(workshop, Quota(tokens_a_day=TOKENS + 1))
    first = await workshop.submit(run, 1, learn(WORDS))
    await workshop.wait(first)
    assert await workshop.submit(run, 1, learn(WORDS)) == first
    await workshop.do(run, 2, learn(WORDS))
    assert (await used(workshop)).tokens_today == 2 * TOKENS
    with pytest.raises(Spent, match="00:00 UTC"):
        await workshop.submit(run, 3, learn(WORDS))
    assert await workshop.database.run(lambda c: runs.find_op(c, run, 3)) is None
    assert await workshop.submit(run, 1, learn(WORDS)) == first, "sent again, it was refused"
    assert not isinstance(await workshop.do(run, 3, STEP), AnubhavError), "a step costs no tokens"
    await limit(workshop, Quota())
    assert isinstance(await workshop.do(run, 4, learn(WORDS)), PassResult)


async def test_tokens_stay_counted_after_a_restart(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await workshop.do(run, 1, learn(WORDS))
    await workshop.restart()
    await workshop.do(run, 2, learn(WORDS))
    assert (await used(workshop)).tokens_today == 2 * TOKENS


async def test_what_others_wait_for_is_let_in(workshop: Workshop) -> None:
    """The SDK sends the first chunk of a pass last; refused then, it would be passed over and lost."""
    run = await workshop.new_run()
    later = await workshop.submit(run, 2, learn(WORDS))
    await limit(workshop, Quota(tokens_a_day=0, queue=1))
    assert isinstance(await workshop.do(run, 1, learn(WORDS)), PassResult)
    assert isinstance(await workshop.wait(later), PassResult)


async def test_runs_are_counted_while_they_are_open(workshop: Workshop) -> None:
    await limit(workshop, Quota(runs=1))
    run = await workshop.new_run()
    other = RunId(f"{run.rpartition(':')[0]}:1")
    with pytest.raises(NotAllowed, match="quota is 1"):
        await workshop.submit(other, 0, CREATE)
    assert await workshop.database.run(lambda c: runs.find_run(c, other)) is None
    assert await workshop.submit(run, 0, CREATE), "sent again, it was refused"
    await workshop.desk.end(TENANT, run)
    assert (await used(workshop)).runs == 0
    await workshop.do(other, 0, CREATE)


async def test_the_queue_is_bounded(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await limit(workshop, Quota(queue=2))
    waiting = [await workshop.submit(run, number, learn(WORDS)) for number in (3, 2)]
    with pytest.raises(Busy, match="quota is 2") as refusal:
        await workshop.submit(run, 4, learn(WORDS))
    assert refusal.value.retry_after >= 1
    await workshop.do(run, 1, learn(WORDS))
    for promise in waiting:
        await workshop.wait(promise)
    await workshop.do(run, 4, learn(WORDS))


async def test_a_save_that_does_not_fit_leaves_nothing(workshop: Workshop) -> None:
    run = await workshop.new_run()
    kept = await workshop.do(run, 1, save("one"))
    assert isinstance(kept, Saved)
    size = (await used(workshop)).storage_bytes
    assert size > 0
    await limit(workshop, Quota(storage_bytes=size + size // 2))
    folders = set((workshop.folder / "checkpoints").iterdir())
    refused = await workshop.do(run, 2, save("two"))
    assert isinstance(refused, NotAllowed)
    assert set((workshop.folder / "checkpoints").iterdir()) == folders
    with pytest.raises(NotAllowed):
        await workshop.desk.copy(Copy(TENANT, parse_path(kept.path)))
    assert isinstance(await workshop.do(run, 3, save("one", overwrite=True)), Saved), "it takes the place of itself"
    await limit(workshop, Quota(storage_bytes=size))
    with pytest.raises(NotAllowed, match="delete"):
        await workshop.submit(run, 4, save("two"))
    assert (await used(workshop)).storage_bytes == size
    await workshop.desk.checkpoints.delete(TENANT, kept.path)
    assert isinstance(await workshop.do(run, 4, save("two")), Saved)


async def test_quotas_are_a_tenants_own(workshop: Workshop) -> None:
    await workshop.database.run(lambda c: quotas.keep(c, "mallory", Quota(0, 0, 0, 0)))
    run = await workshop.new_run()
    await workshop.do(run, 1, learn(WORDS))
    assert isinstance(await workshop.do(run, 2, save("one")), Saved)
    assert await workshop.database.run(lambda c: quotas.use(c, "mallory")) == Use(0, 0, 0, 0)
    assert await workshop.database.run(lambda c: quotas.find(c, "mallory")) == Quota(0, 0, 0, 0)
