"""Passes of the reverse KL: their place in a run without a number of their own, and what they hold on to meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from workshop import CREATE, MODEL, STEP, TENANT, VOCAB, Workshop, learn, save

from anubhav.errors import AnubhavError, BadInput, Gone, Mismatch, NotFound, TooLarge
from anubhav.store import checkpoints as shelf
from anubhav.store import runs
from anubhav.training.promises import Saved, Stepped
from anubhav.training.snapshots import Pace
from anubhav.types.distilling import Continuation, Distillation, Distilled
from anubhav.types.ids import RunId
from anubhav.types.operations import Distil
from anubhav.types.training import PassResult

DATA = (Continuation((1, 2), (3, 2), (4, 5, 6), (1.0, 1.0, 0.5)),)
NEVER = Pace(steps=10**9, seconds=1e9)


def distil(reference: str = MODEL, data: tuple[Continuation, ...] = DATA) -> Distil:
    return Distil(Distillation(data, 1.5), reference)


async def told(workshop: Workshop, run: RunId, operation: Distil, key: str | None = None) -> Distilled:
    outcome = await workshop.wait(await workshop.desk.submit(TENANT, run, None, operation, key=key))
    assert isinstance(outcome, Distilled)
    return outcome


async def teach(workshop: Workshop) -> str:
    """A checkpoint of another run."""
    run = await workshop.new_run()
    await workshop.do(run, 1, learn((4, 5, 6, 7)))
    await workshop.do(run, 2, STEP)
    saved = await workshop.do(run, 3, save("teacher", "sampler_weights"))
    assert isinstance(saved, Saved)
    return saved.path


async def weights(workshop: Workshop, run: RunId, seq: int) -> str:
    saved = await workshop.do(run, seq, save(f"at-{seq}"))
    assert isinstance(saved, Saved)
    return (await workshop.desk.checkpoints.find(TENANT, saved.path)).adapter


def folders(workshop: Workshop) -> set[str]:
    return {f"checkpoints/{entry.name}" for entry in (workshop.folder / "checkpoints").iterdir()}


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path, pace=NEVER)
    yield workshop
    await workshop.close()


async def test_it_takes_a_place_of_its_own_and_the_numbers_of_the_wire_go_on(workshop: Workshop) -> None:
    run, same = await workshop.new_run(), await workshop.new_run()
    teacher = await teach(workshop)
    first = await workshop.submit(run, 1, learn((1, 2, 3)))
    between = [await told(workshop, run, distil(teacher)) for _ in range(2)]
    assert between[0].losses == between[1].losses  # both before the step
    second = await workshop.submit(run, 2, STEP)
    after = await told(workshop, run, distil(teacher))
    assert after.losses[0] != between[0].losses[0]
    third = await workshop.submit(run, 3, STEP)
    # Each number is still what it was when it is sent again, whatever was let in since.
    assert [await workshop.submit(run, n, op) for n, op in ((1, learn((1, 2, 3))), (2, STEP), (3, STEP))] == [
        first, second, third,
    ]  # fmt: skip
    with pytest.raises(Mismatch):
        await workshop.submit(run, 2, learn((7, 8)))
    # With numbers of its own it is like any operation.
    for seq, operation in enumerate((learn((1, 2, 3)), distil(teacher), distil(teacher), STEP, distil(teacher), STEP)):
        await workshop.do(same, seq + 1, operation)
    assert await weights(workshop, run, 4) == await weights(workshop, same, 7)


async def test_a_key_names_one_pass(workshop: Workshop) -> None:
    run, other = await workshop.new_run(), await workshop.new_run()
    promises = await asyncio.gather(*(workshop.desk.submit(TENANT, run, None, distil(), key="k") for _ in range(5)))
    assert len(set(promises)) == 1
    await workshop.restart()
    assert await workshop.desk.submit(TENANT, run, None, distil(), key="k") == promises[0]
    with pytest.raises(Mismatch):
        await workshop.desk.submit(TENANT, run, None, distil(data=DATA * 2), key="k")
    fresh = {await workshop.desk.submit(TENANT, run, None, distil(), key=key) for key in ("l", None, None)}
    fresh.add(await workshop.desk.submit(TENANT, other, None, distil(), key="k"))
    assert len(fresh | {promises[0]}) == 5
    assert len(await workshop.database.run(lambda c: runs.ops_from(c, run, 1))) == 4


async def test_it_waits_behind_what_was_received_and_for_what_is_late(workshop: Workshop) -> None:
    run, same = await workshop.new_run(), await workshop.new_run()
    late = [await workshop.submit(run, 3, STEP)]
    promise = await workshop.desk.submit(TENANT, run, None, distil(), key="k")
    late.append(await workshop.submit(run, 4, STEP))
    assert await workshop.desk.promises.wait(TENANT, promise, 0.05) is None
    await workshop.restart()
    for seq, operation in ((2, learn((4, 5))), (1, learn((1, 2)))):
        late.append(await workshop.submit(run, seq, operation))
    assert isinstance(await workshop.wait(promise), Distilled)
    for one in late:
        assert not isinstance(await workshop.wait(one), AnubhavError)
    for seq, operation in enumerate((learn((1, 2)), learn((4, 5)), STEP, distil(), STEP)):
        await workshop.do(same, seq + 1, operation)
    assert await weights(workshop, run, 5) == await weights(workshop, same, 6)


@pytest.mark.parametrize("fate", ["deleted", "overwritten"])
async def test_a_replay_reads_the_reference_as_it_was(workshop: Workshop, fate: str) -> None:
    run, calm, teaching = [await workshop.new_run() for _ in range(3)]
    await workshop.do(teaching, 1, learn((4, 5, 6, 7)))
    await workshop.do(teaching, 2, STEP)
    saved = await workshop.do(teaching, 3, save("t"))
    assert isinstance(saved, Saved)
    for one in (run, calm):
        await told(workshop, one, distil(saved.path), "k")
        await workshop.do(one, 1, STEP)
        await told(workshop, one, distil(saved.path), "l")
    wanted = await workshop.do(calm, 2, STEP)
    if fate == "deleted":
        await workshop.desk.checkpoints.delete(TENANT, saved.path)
        with pytest.raises(NotFound):
            await workshop.desk.submit(TENANT, run, None, distil(saved.path))
    else:
        await workshop.do(teaching, 4, learn((9, 9, 9)))
        await workshop.do(teaching, 5, STEP)
        await workshop.do(teaching, 6, save("t", overwrite=True))
    # Sent again it is the same pass, whatever its path has become.
    again = await workshop.desk.submit(TENANT, run, None, distil(saved.path), key="l")
    assert isinstance(await workshop.wait(again), Distilled)
    await workshop.restart()
    assert await workshop.do(run, 2, STEP) == wanted
    assert await weights(workshop, run, 3) == await weights(workshop, calm, 3)


async def test_a_pass_that_waits_reads_the_reference_as_it_was(workshop: Workshop) -> None:
    run, teacher = await workshop.new_run(), await teach(workshop)
    wanted = await told(workshop, await workshop.new_run(), distil(teacher))
    await workshop.submit(run, 2, learn((1, 2, 3), backward=False))
    promise = await workshop.desk.submit(TENANT, run, None, distil(teacher), key="k")
    await workshop.desk.checkpoints.delete(TENANT, teacher)
    await workshop.restart()
    assert isinstance(await workshop.do(run, 1, learn((1, 2, 3), backward=False)), PassResult)
    assert await workshop.wait(promise) == wanted


async def test_the_files_go_when_no_replay_can_need_them(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, pace=Pace(steps=1, seconds=1e9))
    run, teacher = await workshop.new_run(), await teach(workshop)
    folder = (await workshop.desk.checkpoints.find(TENANT, teacher)).folder
    await told(workshop, run, distil(teacher))
    await workshop.desk.checkpoints.delete(TENANT, teacher)
    assert folder in folders(workshop)
    seq = 0
    for seq in range(1, 60):
        await workshop.do(run, seq, STEP)
        await asyncio.sleep(0.01)  # snapshots are published behind the operations
        if folder not in folders(workshop):
            break
    assert folder not in folders(workshop)
    await workshop.restart()
    assert isinstance(await workshop.do(run, seq + 1, STEP), Stepped)
    await workshop.close()


async def test_the_files_go_with_the_run(workshop: Workshop) -> None:
    run, other, teacher = await workshop.new_run(), await workshop.new_run(), await teach(workshop)
    folder = (await workshop.desk.checkpoints.find(TENANT, teacher)).folder
    for one in (run, other):
        await told(workshop, one, distil(teacher))
    await workshop.desk.checkpoints.delete(TENANT, teacher)
    await workshop.desk.end(TENANT, run)
    assert folder in folders(workshop)
    assert await workshop.database.run(lambda c: folder in shelf.folders(c) and shelf.named(c, folder))
    await workshop.desk.end(TENANT, other)
    assert folder not in folders(workshop)
    with pytest.raises(Gone):
        await workshop.desk.submit(TENANT, run, None, distil())


def changed(**parts: object) -> Distil:
    return distil(data=(replace(DATA[0], **parts),))  # pyright: ignore[reportArgumentType]


BAD: list[tuple[Distil, type[AnubhavError], str]] = [
    (distil(data=()), BadInput, "no data"),
    (distil(data=DATA * 5000), TooLarge, "5000 data"),
    (changed(prompt=()), BadInput, "student_input"),
    (changed(reference_prompt=()), BadInput, "reference_input"),
    (changed(targets=(), weights=()), BadInput, "target_tokens"),
    (changed(targets=(1, VOCAB, 2)), BadInput, "target_tokens"),
    (changed(reference_prompt=(-1,)), BadInput, "reference_input"),
    (changed(weights=(1.0,)), BadInput, "1 weights for 3"),
    (changed(weights=(1.0, float("nan"), 1.0)), BadInput, "finite"),
    (changed(prompt=(1,) * 64), TooLarge, "66 tokens"),
    (changed(reference_prompt=(1,) * 63), TooLarge, "65 tokens"),
    (Distil(Distillation(DATA, 0.0), MODEL), BadInput, "temperature"),
    (Distil(Distillation(DATA, float("nan")), MODEL), BadInput, "temperature"),
    (distil("another model"), NotFound, "reference"),
    (distil("tinker://a/b/c"), BadInput, "path"),
    (distil("tinker://a:train:0/weights/x"), NotFound, "checkpoint"),
]


@pytest.mark.parametrize(("operation", "error", "message"), BAD)
async def test_what_could_not_be_computed_is_refused_and_takes_no_place(
    workshop: Workshop, operation: Distil, error: type[AnubhavError], message: str
) -> None:
    run = await workshop.new_run()
    for seq in (None, 1):
        with pytest.raises(error, match=message):
            await workshop.desk.submit(TENANT, run, seq, operation, key="k")
    assert isinstance(await workshop.do(run, 1, learn((1, 2, 3))), PassResult)


async def test_nobody_distils_from_what_they_cannot_read_nor_into_what_is_not_theirs(workshop: Workshop) -> None:
    teacher, run = await teach(workshop), await workshop.new_run()
    session = await workshop.desk.open_session("bob", [], {}, "test")
    theirs = RunId(f"{session}:train:0")
    await workshop.desk.submit("bob", theirs, 0, CREATE)
    for target, operation in ((theirs, distil(teacher)), (run, distil()), (RunId("none:train:0"), distil())):
        with pytest.raises(NotFound):
            await workshop.desk.submit("bob", target, None, operation, key="k")
    await workshop.desk.checkpoints.share(TENANT, teacher, public=True)
    promise = await workshop.desk.submit("bob", theirs, None, distil(teacher), key="k")
    assert isinstance(await workshop.desk.promises.wait("bob", promise, 10), Distilled)


async def test_its_tokens_are_counted(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await told(workshop, run, distil())
    rows = await workshop.database.run(
        lambda c: c.execute("SELECT tokens FROM ops WHERE run = ? AND kind = 'Distil'", (run,)).fetchall()
    )
    assert [row["tokens"] for row in rows] == [8]
