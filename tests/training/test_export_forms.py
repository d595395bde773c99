"""Exports: made one at a time, found again, counted, followed, fetched by whose they are, removed with their files."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from workshop import MODEL, TENANT, Workshop, save

from anubhav.errors import BadInput, Busy, Gone, NotAllowed, NotFound, Unavailable
from anubhav.store import quotas
from anubhav.training.exports import Export, Exports, Form
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.models import Model, Principal
from anubhav.types.quotas import Quota

WEIGHTS = b"w" * 1000
OPERATOR, BOB = Principal(TENANT, "key_a", operator=True), Principal("bob", "key_b", operator=True)


class Maker:
    """Writes a file and waits to be let go by hand."""

    def __init__(self) -> None:
        self.at_work = self.most = 0
        self.go = asyncio.Event()

    async def make(self, adapter: Path, base: Model, to: Path, form: Form) -> None:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            assert (adapter / "adapter_config.json").is_file()
            (to / f"{form}.bin").write_bytes(base.name.encode() * 10)
            await self.go.wait()
            if form == "gguf":
                raise BadInput("This family is not written as GGUF", hint="Take it merged.")
        finally:
            self.at_work -= 1


class Bench:
    def __init__(self, workshop: Workshop, *, kept_seconds: float = 60.0) -> None:
        self.workshop, self.maker, self.folder = workshop, Maker(), workshop.folder / "exports"
        (workshop.folder / "model.safetensors").write_bytes(WEIGHTS)
        models = {MODEL: Model(MODEL, workshop.folder, "none", "folder", 64, 50)}
        self.exports = Exports(
            workshop.database, workshop.desk.checkpoints, workshop.folder, models, self.maker.make,
            kept_seconds=kept_seconds,
        )  # fmt: skip

    async def saved(self, name: str = "a") -> Checkpoint:
        run = await self.workshop.new_run()
        await self.workshop.do(run, 1, save(name, "sampler_weights"))
        return await self.workshop.desk.checkpoints.find(TENANT, f"tinker://{run}/sampler_weights/{name}")

    async def until(self, name: str, state: str) -> Export:
        async with asyncio.timeout(5):
            while (one := self.exports.find(None, name)).state != state:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
        return one


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    workshop = Workshop(tmp_path)
    await workshop.desk.recover()
    bench = Bench(workshop)
    yield bench
    await bench.exports.stop()
    await workshop.close()


async def test_one_is_made_at_a_time_and_found_again(bench: Bench) -> None:
    saved = [await bench.saved(name) for name in "abcde"]
    asked = [await bench.exports.ask(OPERATOR, one, "merged") for one in saved[:4]]
    with pytest.raises(Busy, match="Several exports"):
        await bench.exports.ask(OPERATOR, saved[4], "merged")
    assert (await bench.exports.ask(OPERATOR, saved[0], "merged")).id == asked[0].id
    under_way = await bench.until(asked[0].id, "running")
    assert (under_way.expected_bytes, bench.exports.find(TENANT, asked[3].id).state) == (len(WEIGHTS), "waiting")
    bench.maker.go.set()
    for one in asked:
        done = await bench.until(one.id, "done")
        assert done.written_bytes == 40
    assert bench.maker.most == 1
    assert [one.id for one in bench.exports.list(TENANT, asked[1].path)] == [asked[1].id]
    _, folder, names = bench.exports.files(TENANT, asked[0].id)
    assert [(folder / name).read_bytes() for name in names] == [MODEL.encode() * 10]


async def test_they_are_their_tenants_and_the_operators(bench: Bench) -> None:
    mine = await bench.exports.ask(OPERATOR, await bench.saved(), "merged")
    for look in (bench.exports.find, bench.exports.files):
        with pytest.raises(NotFound):
            look("bob", mine.id)
    with pytest.raises(NotFound):
        await bench.exports.drop("bob", mine.id)
    assert bench.exports.list("bob") == []
    assert bench.exports.find(None, mine.id).tenant == TENANT
    with pytest.raises(Unavailable, match="is being made"):
        bench.exports.files(TENANT, mine.id)


async def test_what_cannot_be_written_says_why_and_may_be_asked_again(bench: Bench) -> None:
    saved = await bench.saved()
    bench.maker.go.set()
    first = await bench.exports.ask(OPERATOR, saved, "gguf")
    failed = await bench.until(first.id, "failed")
    assert failed.failure == "This family is not written as GGUF. Take it merged."
    with pytest.raises(Gone, match="Take it merged"):
        bench.exports.files(TENANT, first.id)
    assert (await bench.exports.ask(OPERATOR, saved, "gguf")).id != first.id


async def test_what_is_given_up_or_too_old_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = await bench.saved()
    first = await bench.exports.ask(OPERATOR, saved, "merged")
    await bench.until(first.id, "running")
    await bench.exports.drop(TENANT, first.id)
    assert bench.maker.at_work == 0
    assert list(bench.folder.iterdir()) == []
    with pytest.raises(NotFound):
        bench.exports.find(TENANT, first.id)
    quick = Bench(bench.workshop, kept_seconds=0.3)
    quick.maker.go.set()
    second = await quick.exports.ask(OPERATOR, saved, "merged")
    ends = (await quick.until(second.id, "done")).expires_at
    assert abs((ends or 0.0) - time.time()) < 0.4
    async with asyncio.timeout(5):
        while list(quick.folder.iterdir()):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert quick.exports.list(None) == []


async def test_the_base_models_weights_are_the_operators_to_give(bench: Bench) -> None:
    tenant = Principal(TENANT, "key_c", operator=False)
    with pytest.raises(NotAllowed, match="operator's to give away"):
        await bench.exports.ask(tenant, await bench.saved(), "merged")
    assert (await bench.exports.ask(tenant, await bench.saved(), "gguf")).tenant == TENANT


async def test_a_start_removes_what_was_there(bench: Bench) -> None:
    bench.maker.go.set()
    one = await bench.exports.ask(OPERATOR, await bench.saved(), "merged")
    await bench.until(one.id, "done")
    assert len(list(bench.folder.iterdir())) == 1
    again = Bench(bench.workshop)
    assert again.exports.list(None) == []
    assert list(bench.folder.iterdir()) == []


async def test_there_must_be_room_and_something_to_write(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, other = await bench.saved(), await bench.saved()
    used = await bench.workshop.database.run(lambda c: quotas.stored_bytes(c, TENANT))
    quota = Quota(storage_bytes=used + 3 * len(WEIGHTS) // 2)
    await bench.workshop.database.run(lambda c: quotas.keep(c, TENANT, quota))
    await bench.exports.ask(OPERATOR, saved, "merged")
    with pytest.raises(NotAllowed, match="quota"):
        await bench.exports.ask(OPERATOR, other, "merged")
    monkeypatch.setattr("anubhav.training.exports._SPARE", 1 << 60)
    with pytest.raises(Unavailable, match="GB free"):
        await bench.exports.ask(BOB, saved, "merged")
    run = saved.path.run
    await bench.workshop.do(run, 2, save("x", "external_weights"))
    external = await bench.workshop.desk.checkpoints.find(TENANT, f"tinker://{run}/external_weights/x")
    with pytest.raises(BadInput, match="only be downloaded"):
        await bench.exports.ask(BOB, external, "merged")
