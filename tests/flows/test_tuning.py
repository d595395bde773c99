"""Tuning against restarts: a job that is cut short anywhere ends as if it had not been, with no step done twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.flows.house import House
from anubhav.flows.tuning import Wanted, create_job, resume_job
from anubhav.settings import Settings
from anubhav.store import quotas
from anubhav.store.database import Database
from anubhav.types.models import Model
from anubhav.types.quotas import Quota
from anubhav.types.tuning import Hyperparameters, Method, TuningJob

ROWS = [("a?", "one"), ("b?", "two"), ("c?", "three"), ("d?", "four"), ("e?", "five")]
NUMBERS = Hyperparameters(4, 2, 20.0)
STEPS = 12
TENANT = "alice"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny")
    return tmp_path


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[House]:
    model = Model("tiny", folder / "tiny", "Apache-2.0", "folder", 512, 258)
    settings = Settings(data_dir=folder / "data", models_dir=folder / "models", api_key="tml-x")
    async with build(settings, {"tiny": model}) as (house, _):
        yield house


def written(method: Method) -> bytes:
    rows: list[Any] = []
    for question, answer in ROWS:
        said = [{"role": "user", "content": question}]
        good, bad = ({"role": "assistant", "content": text} for text in (answer, "none"))
        chosen = {"input": {"messages": said}, "preferred_output": [good], "non_preferred_output": [bad]}
        rows.append({"messages": [*said, good]} if method == "supervised" else chosen)
    return "\n".join(map(json.dumps, rows)).encode()


async def begin(house: House, method: Method = "supervised", *, validated: bool = True) -> TuningJob:
    file = (await house.uploads.add(TENANT, "rows", "fine-tune", written(method))).id
    return await create_job(house, TENANT, Wanted("tiny", file, file if validated else None, method, NUMBERS, seed=3))


async def told(house: House, job: TuningJob) -> list[str]:
    """What was said of steps and models, oldest first."""
    events = [event.message for event in await house.jobs.events(TENANT, job.id, None, 1000)]
    return [one for one in reversed(events) if "tep " in one]


async def until(house: House, job: TuningJob, reached: Callable[[int], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if reached(sum("training loss" in one for one in await told(house, job))):
                return
            await asyncio.sleep(0)


async def weights(house: House, job: TuningJob) -> list[str]:
    """Of every checkpoint, by the hash of what is in it."""
    found = await house.jobs.checkpoints(TENANT, job.id, None, 100)
    return [(await house.desk.checkpoints.find(TENANT, one.path)).adapter for one in found]


@pytest.mark.parametrize("method", ["supervised", "dpo"])
async def test_a_restart_changes_nothing(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, method: Method
) -> None:
    other = tmp_path_factory.mktemp("straight")
    write_model(other / "tiny")
    async with opened(other) as house:
        done = await house.jobs.wait(await begin(house, method))
        assert done.state == "succeeded", done.failure
        expected, said = await weights(house, done), [one.partition(": ft:")[0] for one in await told(house, done)]
    assert len(set(expected)) == 4
    async with opened(folder) as house:
        job = await begin(house, method)
        await until(house, job, lambda steps: steps >= 3)
    for steps in (5, 8):
        async with opened(folder) as house:
            assert (await house.jobs.find(TENANT, job.id)).state == "running"
            await until(house, job, lambda done, steps=steps: done >= steps)
    async with opened(folder) as house:
        done = await house.jobs.wait(job)
        assert done.state == "succeeded", done.failure
        assert await weights(house, done) == expected
        assert [one.partition(": ft:")[0] for one in await told(house, done)] == said
    assert await steps_of(folder, job) == STEPS


async def steps_of(folder: Path, job: TuningJob) -> int:
    database = Database(folder / "data" / "anubhav.db")
    try:
        query = "SELECT count(*) FROM ops WHERE run = ? AND kind = 'Step' AND state = 'done'"
        return await database.run(lambda c: c.execute(query, (job.run,)).fetchone()[0])
    finally:
        database.close()


async def test_a_pause_outlives_the_server(folder: Path) -> None:
    async with opened(folder) as house:
        job = await begin(house)
        await until(house, job, lambda steps: steps >= 2)
        assert (await house.jobs.pause(TENANT, job.id)).state == "paused"
    async with opened(folder) as house:
        assert (await house.jobs.find(TENANT, job.id)).state == "paused"
        before = await told(house, job)
        await resume_job(house, TENANT, job.id)
        assert (await house.jobs.wait(job)).state == "succeeded"
        after = await told(house, job)
    assert after[: len(before)] == before
    assert sum("training loss" in one for one in after) == STEPS
    assert await steps_of(folder, job) == STEPS


async def test_a_used_up_quota_pauses_the_job(folder: Path) -> None:
    async with opened(folder) as house:
        await limit(house, Quota(tokens_a_day=300))
        job = await begin(house)
        paused = await house.jobs.wait(job)
        assert paused.state == "paused"
        events = await house.jobs.events(TENANT, job.id, None, 5)
        assert any(event.level == "warn" and "tokens a day" in event.message for event in events)
        await limit(house, Quota())
        await resume_job(house, TENANT, job.id)
        assert (await house.jobs.wait(job)).state == "succeeded"


async def test_an_ended_job_leaves_no_run_open_and_no_bytes(folder: Path) -> None:
    async with opened(folder) as house:
        job = await begin(house)
        await until(house, job, lambda steps: steps >= 1)
        await house.uploads.delete(TENANT, job.training.file)
        assert await house.uploads.read(job.training.digest)
        await house.jobs.cancel(TENANT, job.id)
        assert house.desk.awake == 0
    assert not list((folder / "data" / "blobs").iterdir())


async def limit(house: House, quota: Quota) -> None:
    await house.voices.meter._database.run(lambda c: quotas.keep(c, TENANT, quota))
