import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from workshop import CREATE, HOPELESS, STEP, TENANT, Workshop, learn

from anubhav.trackers.courier import Courier
from anubhav.trackers.metrics_file import MetricsFile
from anubhav.training.runbook import RunBook
from anubhav.training.scribe import Scribe
from anubhav.types.experience import Lap
from anubhav.types.ids import RunId
from anubhav.types.tracking import Track, TrackRow


class Notebook:
    name = "notebook"

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.ended: list[str] = []

    def log(self, track: Track, rows: Sequence[TrackRow]) -> None:
        self.told += [(track.id, row.step) for row in rows]

    def end(self, track: str) -> None:
        self.ended.append(track)


class Desk(Workshop):
    """A workshop with a scribe."""

    def open(self) -> None:
        super().open()
        self.notebook = Notebook()
        self.file = MetricsFile(self.folder)
        self.scribe = Scribe(RunBook(self.database), self.file, [Courier(self.notebook)])
        self.desk._scribe = self.scribe

    async def close(self) -> None:
        await self.desk.stop()
        await self.scribe.stop()
        self.database.close()

    def lines(self, track: str) -> list[dict[str, float]]:
        file = self.file.place(track) / "metrics.jsonl"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    async def until(self, track: str, count: int) -> list[dict[str, float]]:
        async with asyncio.timeout(5):
            while len(self.lines(track)) < count:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
        return self.lines(track)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    desk.scribe.start()
    yield desk
    await desk.close()


async def steps(desk: Desk, run: RunId, first: int = 1, count: int = 2) -> None:
    for seq in range(first, first + 2 * count, 2):
        await desk.do(run, seq, learn((1, 2, 3)))
        await desk.do(run, seq + 1, STEP)


async def test_every_operation_that_measures_is_a_line(desk: Desk) -> None:
    run = await desk.new_run()
    await steps(desk, run)
    lines = await desk.until(run, 4)
    assert [(line["step"], line["kind"]) for line in lines] == [
        (1, "Compute"), (2, "Step"), (3, "Compute"), (4, "Step"),
    ]  # fmt: skip
    assert lines[2]["loss:sum"] < lines[0]["loss:sum"]
    config = json.loads((desk.file.place(run) / "config.json").read_text())
    assert (config["id"], config["tenant"], config["base_model"], config["rank"]) == (run, TENANT, "tiny", 4)


async def test_a_failed_operation_measured_nothing(desk: Desk) -> None:
    run = await desk.new_run()
    await desk.do(run, 1, HOPELESS)
    await desk.do(run, 2, STEP)
    await desk.do(run, 3, learn((1, 2, 3)))
    assert [line["step"] for line in await desk.until(run, 2)] == [1, 3]


async def test_what_is_told_while_it_writes_for_the_last_time_is_written(desk: Desk) -> None:
    run = await desk.new_run()
    await steps(desk, run)
    await desk.until(run, 4)
    append = desk.file.append

    def late(track: str, rows: Sequence[TrackRow]) -> None:
        append(track, rows)
        desk.scribe.tell(run, ended=True)

    desk.file.append = late  # pyright: ignore[reportAttributeAccessIssue]
    await desk.do(run, 5, learn((1, 2, 3)))
    notebook = desk.notebook
    await desk.close()
    assert notebook.ended == [run]
    desk.open()


async def test_trackers_are_told_the_same_and_when_it_ends(desk: Desk) -> None:
    run = await desk.new_run()
    await steps(desk, run)
    await desk.desk.end(TENANT, run)
    await desk.until(run, 4)
    notebook = desk.notebook
    await desk.close()
    assert notebook.told == [(run, step) for step in (1, 2, 3, 4)]
    assert notebook.ended == [run]
    desk.open()


async def test_what_a_crash_left_out_is_written_at_the_next_start_and_once(desk: Desk) -> None:
    run = await desk.new_run()
    await steps(desk, run)
    await desk.until(run, 4)
    # The file lags behind the journal, its last line cut; another one is missing altogether.
    file = desk.file.place(run) / "metrics.jsonl"
    text = file.read_text().splitlines(keepends=True)
    file.write_text("".join(text[:2]) + text[2][:9])
    other = await desk.new_run()
    await steps(desk, other, count=1)
    await desk.until(other, 2)
    await desk.desk.end(TENANT, other)
    await desk.close()
    (desk.file.place(other) / "metrics.jsonl").unlink()
    desk.open()
    await desk.desk.recover()
    desk.scribe.start()
    assert [line["step"] for line in await desk.until(run, 4)] == [1, 2, 3, 4]
    assert [line["step"] for line in await desk.until(other, 2)] == [1, 2]
    await steps(desk, run, first=5, count=1)
    assert [line["step"] for line in await desk.until(run, 6)] == [1, 2, 3, 4, 5, 6]
    notebook = desk.notebook
    await desk.close()
    assert notebook.told == [(run, 5), (run, 6)]
    desk.open()


async def test_a_file_that_cannot_be_written_hurts_no_training(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anubhav.training.scribe._PAUSE", 0.01)
    (desk.folder / "metrics").write_text("in the way")
    run = await desk.new_run()
    await steps(desk, run)
    await asyncio.sleep(0.1)
    assert caplog.text.count("metrics.jsonl cannot be written") == 1
    (desk.folder / "metrics").unlink()
    assert len(await desk.until(run, 4)) == 4


async def test_the_numbers_of_a_lap_are_rows_of_its_own(desk: Desk) -> None:
    lap = Lap("lap_1", "default", "running", "imitating", time.time())
    desk.scribe.tell_lap(lap, {"step": 1, "sure": 0.5, "why": "a text", "left": {"no consent": 2}}, False)
    desk.scribe.tell_lap(lap, {"why": "only words"}, False)
    desk.scribe.tell_lap(lap, {"passed": True}, True)
    first, last = await desk.until("lap_1", 2)
    assert (first["kind"], first["batch"], first["sure"], first["left/no consent"]) == ("imitating", 1, 0.5, 2)
    assert "why" not in first
    assert (last["step"], last["passed"]) == (1, 1.0)


async def test_a_first_operation_alone_makes_no_rows(desk: Desk) -> None:
    session = await desk.desk.open_session(TENANT, [], {}, "test")
    run = RunId(f"{session}:train:0")
    await desk.do(run, 0, CREATE)
    await asyncio.sleep(0.05)
    assert desk.lines(run) == []
