"""After a crash: the same weights to the bit, every promise kept, nothing twice."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from workshop import CREATE, HOPELESS, STEP, TENANT, Workshop, learn, save

from anubhav.errors import Broken, Lost
from anubhav.store import runs
from anubhav.store.runs import SnapshotRow
from anubhav.training.promises import Outcome, Saved, Stepped
from anubhav.training.snapshots import Pace
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.operations import Load, Operation
from anubhav.types.training import OptimParams, Pass, PassResult

PACE = Pace(steps=3, seconds=1e9)
LAP: list[Operation] = [
    operation
    for lap in range(8)
    for operation in (learn((lap, 2, 3)), learn((4, lap, 6), backward=False), learn((7, 8, lap)), STEP)
]


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path, pace=PACE)
    yield workshop
    await workshop.close()


async def train(workshop: Workshop, run: RunId, operations: list[Operation], first: int = 1) -> list[Outcome]:
    promises = [await workshop.submit(run, first + place, operation) for place, operation in enumerate(operations)]
    return [await workshop.wait(promise) for promise in promises]


async def weights(workshop: Workshop, run: RunId, seq: int) -> str:
    saved = await workshop.do(run, seq, save(f"at-{seq}"))
    assert isinstance(saved, Saved)
    return (await workshop.desk.checkpoints.find(TENANT, saved.path)).adapter


async def kept(workshop: Workshop, run: RunId) -> list[SnapshotRow]:
    return await workshop.database.run(lambda c: runs.snapshots(c, run))


async def settled(workshop: Workshop, run: RunId, count: int) -> list[SnapshotRow]:
    """The snapshots once there are so many: they are published behind the operations."""
    for _ in range(500):
        if len(found := await kept(workshop, run)) >= count:
            return found
        await asyncio.sleep(0.005)
    raise AssertionError(f"no {count} snapshots came")


@pytest.mark.parametrize("crash_after", [1, 5, 13, 26, 31])
async def test_a_crash_changes_no_result_and_no_weight(workshop: Workshop, crash_after: int) -> None:
    calm, shaken = await workshop.new_run(), await workshop.new_run()
    wanted = await train(workshop, calm, LAP)
    final = await weights(workshop, calm, len(LAP) + 1)

    head = await train(workshop, shaken, LAP[:crash_after])
    # Acknowledged and perhaps not begun: they must come out of the journal.
    promises = [await workshop.submit(shaken, crash_after + 1 + n, op) for n, op in enumerate(LAP[crash_after:])]
    await workshop.restart()
    assert head + [await workshop.wait(promise) for promise in promises] == wanted
    assert await weights(workshop, shaken, len(LAP) + 1) == final


async def test_a_run_without_pending_work_comes_back_when_asked(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await train(workshop, run, LAP[:7])
    before = await weights(workshop, run, 8)
    await workshop.restart()
    # Two of three gradients of a step lie before the crash.
    assert isinstance(await workshop.do(run, 9, STEP), Stepped)
    other = await workshop.new_run()
    await train(workshop, other, [*LAP[:7], STEP])
    assert await weights(workshop, run, 10) == await weights(workshop, other, 9)
    assert await weights(workshop, run, 11) != before


async def test_two_snapshots_are_kept_and_what_lies_before_them_let_go(workshop: Workshop) -> None:
    run = await workshop.new_run()
    for lap in range(0, len(LAP), 4):
        await train(workshop, run, LAP[lap : lap + 4], lap + 1)
        if lap in (8, 20):
            await settled(workshop, run, 1 + lap // 20)
    found = await kept(workshop, run)
    assert [row.seq for row in found] == [24, 12]
    assert {f"snapshots/{entry.name}" for entry in (workshop.folder / "snapshots").iterdir()} == {
        r.folder for r in found
    }
    ops = await workshop.database.run(lambda c: runs.ops_from(c, run, 0))
    assert [bool(op.body) for op in ops] == [True] + [False] * 11 + [True] * (len(LAP) - 11)
    # A repeat is still known by its digest.
    promise = await workshop.submit(run, 1, LAP[0])
    assert isinstance(await workshop.wait(promise), PassResult)


async def test_a_torn_snapshot_is_passed_over(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await train(workshop, run, LAP[:12])
    await settled(workshop, run, 1)
    await train(workshop, run, LAP[12:26], 13)
    newest = (await settled(workshop, run, 2))[0]
    before = await weights(workshop, run, 27)
    file = workshop.folder / newest.folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    await workshop.restart()
    assert await weights(workshop, run, 28) == before


async def test_without_any_snapshot_everything_is_replayed(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await train(workshop, run, LAP[:14])
    [only] = await settled(workshop, run, 1)
    before = await weights(workshop, run, 15)
    (workshop.folder / only.folder / "optimizer.safetensors").unlink()
    await workshop.restart()
    assert await weights(workshop, run, 16) == before


async def test_a_run_whose_snapshots_are_all_lost_says_so(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await train(workshop, run, LAP[:12])
    await settled(workshop, run, 1)
    await train(workshop, run, LAP[12:], 13)
    for row in await settled(workshop, run, 2):
        (workshop.folder / row.folder / "adapter_model.safetensors").write_bytes(b"")
    await workshop.restart()
    failure = await workshop.do(run, len(LAP) + 1, STEP)
    assert isinstance(failure, Broken)
    assert "damaged" in failure.message
    assert isinstance(await workshop.wait(await workshop.submit(run, 1, LAP[0])), PassResult)


async def test_a_load_is_not_repeated_from_a_path_overwritten_since(workshop: Workshop) -> None:
    giver, taker = await workshop.new_run(), await workshop.new_run()
    saved = await workshop.do(giver, 1, save("latest"))
    assert isinstance(saved, Saved)
    await workshop.do(taker, 1, Load(saved.path, optimizer=True))
    before = await weights(workshop, taker, 2)
    await train(workshop, giver, LAP[:4], 2)
    await workshop.do(giver, 6, save("latest", overwrite=True))
    await workshop.restart()
    assert await weights(workshop, taker, 3) == before


async def test_a_refused_step_is_refused_again_by_replay(workshop: Workshop) -> None:
    """It drops the gradient, so leaving it out would change the next step."""
    run, plain = await workshop.new_run(), await workshop.new_run()
    steps: list[Operation] = [learn((1, 2, 3)), HOPELESS, STEP, learn((4, 5, 6)), STEP]
    outcomes = await train(workshop, run, steps)
    assert not isinstance(outcomes[2], Stepped)
    await workshop.restart()
    await train(workshop, plain, [learn((4, 5, 6)), STEP])
    assert await weights(workshop, run, 6) == await weights(workshop, plain, 3)


async def test_a_step_the_engine_failed_at_leaves_no_trace(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at once nor after a restart, however far it came: its gradient waits for the next step."""
    run, plain = await workshop.new_run(), await workshop.new_run()
    trainer = workshop.trainer
    step = trainer.step

    async def fail_late(adapter: AdapterId, params: OptimParams) -> None:
        await step(adapter, params)
        raise MemoryError

    await train(workshop, run, LAP[:6])
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "step", fail_late)
        failure = await workshop.do(run, 7, STEP)
    assert isinstance(failure, Broken)
    assert "memory" in failure.message
    await train(workshop, run, LAP[6:7], 8)
    await workshop.restart()
    await train(workshop, run, [STEP], 9)
    await train(workshop, plain, [*LAP[:7], STEP])
    assert await weights(workshop, run, 10) == await weights(workshop, plain, 9)


async def test_a_trainer_that_dies_elsewhere_costs_nothing(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a pass and at a step, each before and after it did what it was asked: another trainer, empty, goes on."""
    calm, struck = await workshop.new_run(), await workshop.new_run()
    wanted = await train(workshop, calm, LAP)
    final = await weights(workshop, calm, len(LAP) + 1)
    trainer, count = workshop.trainer, 0
    does = {"run": trainer.run, "step": trainer.step}

    def dies(method: str) -> Callable[..., Awaitable[Any]]:
        async def do(*words: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count in (4, 21, 22):
                trainer._pupils.clear()  # pyright: ignore[reportPrivateUsage]
                raise Lost("The trainer was lost")
            done = await does[method](*words, **more)
            if count in (12, 40):
                trainer._pupils.clear()  # pyright: ignore[reportPrivateUsage]
                raise Lost("The trainer was lost")
            return done

        return do

    monkeypatch.setattr(trainer, "run", dies("run"))
    monkeypatch.setattr(trainer, "step", dies("step"))
    assert await train(workshop, struck, LAP) == wanted
    assert count > len(LAP)
    assert await weights(workshop, struck, len(LAP) + 1) == final


async def test_an_operation_that_trainers_die_of_fails_and_the_run_goes_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, plain = await workshop.new_run(), await workshop.new_run()
    await train(workshop, run, LAP[:3])
    does, deaths = workshop.trainer.run, 0

    async def dies(passes: Sequence[Pass], *, tenant: str = "") -> Sequence[PassResult]:
        nonlocal deaths
        if passes[0].data[0].tokens[0] == 9:
            deaths += 1
            workshop.trainer._pupils.pop(passes[0].adapter, None)  # pyright: ignore[reportPrivateUsage]
            raise Lost("The trainer was lost")
        return await does(passes, tenant=tenant)

    monkeypatch.setattr(workshop.trainer, "run", dies)
    failure = await workshop.do(run, 4, learn((9, 9, 9)))
    assert isinstance(failure, Broken)
    assert "died" in failure.message
    assert 1 < deaths < 10
    await train(workshop, run, [STEP], 5)
    await train(workshop, plain, [*LAP[:3], STEP])
    assert await weights(workshop, run, 6) == await weights(workshop, plain, 5)
    await workshop.restart()
    assert deaths < 10


async def test_a_run_the_engine_cannot_bring_back_says_so(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await workshop.new_run()
    await train(workshop, run, LAP[:4])
    await workshop.restart()

    async def fail(*_: object) -> None:
        raise RuntimeError("CUDA error")

    with monkeypatch.context() as patch:
        patch.setattr(workshop.trainer, "create", fail)
        failure = await workshop.do(run, 5, STEP)
    assert isinstance(failure, Broken)
    assert "CUDA" not in str(failure)
    assert isinstance(await workshop.do(await workshop.new_run(), 1, STEP), Stepped)


async def test_a_session_outlives_the_server(workshop: Workshop) -> None:
    session = await workshop.desk.open_session(TENANT, [], {}, "test", "key")
    await workshop.restart()
    assert await workshop.desk.open_session(TENANT, [], {}, "test", "key") == session
    assert await workshop.do(RunId(f"{session}:train:0"), 0, CREATE)


async def test_a_save_waits_for_a_full_disk(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was acknowledged, so it may be late and must not fail."""
    run = await workshop.new_run()
    usage = shutil.disk_usage(workshop.folder)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        patch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=0))
        promise = await workshop.submit(run, 1, save("late"))
        assert await workshop.desk.promises.wait(TENANT, promise, 0.1) is None
        assert list((workshop.folder / "checkpoints").iterdir()) == []
    assert isinstance(await workshop.wait(promise), Saved)


@pytest.mark.parametrize("count", [14, 16], ids=["with a gradient that waits", "between steps"])
async def test_a_run_that_rests_leaves_the_trainer_and_comes_back(
    workshop: Workshop, tmp_path: Path, count: int
) -> None:
    first = LAP[:count]
    run = await workshop.new_run()
    await train(workshop, run, LAP)
    expected = await weights(workshop, run, 1 + len(LAP))

    (tmp_path / "parked").mkdir()
    workshop = Workshop(tmp_path / "parked", pace=Pace(steps=10**9, seconds=1e9, rest=0.5))
    run = await workshop.new_run()
    await train(workshop, run, first)
    async with asyncio.timeout(10):
        while AdapterId(run) in workshop.trainer._pupils:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    newest = [row.seq for row in await kept(workshop, run)][:1]
    assert newest == ([16] if count == 16 else []), "a snapshot cannot hold a gradient"
    await train(workshop, run, LAP[len(first) :], first=1 + len(first))
    assert await weights(workshop, run, 1 + len(LAP)) == expected
    await workshop.close()
