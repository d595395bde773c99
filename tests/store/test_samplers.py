from typing import Any

import pytest

from anubhav.store import runs, samplers, sequences
from anubhav.store.database import Database
from anubhav.store.samplers import SamplerRow
from anubhav.store.sequences import SequenceRow


@pytest.fixture
async def opened(database: Database) -> Database:
    await database.run(lambda c: runs.add_session(c, "ses", "ada", ([], {}, "test"), None))
    return database


async def test_inflight_sessions_follow_the_newest_save_of_their_run(opened: Database) -> None:
    async def add(number: int, run: str | None) -> None:
        row = SamplerRow(f"s{number}", "ses", "ada", "tiny", f"tinker://{number}", run)
        assert await opened.run(lambda c: samplers.add(c, row))

    async def path(number: int) -> str | None:
        row = await opened.run(lambda c: samplers.find(c, f"s{number}"))
        assert row is not None
        return row.path

    for number, run in enumerate(("one", None, "two", "one")):
        await add(number, run)
    assert [await path(number) for number in range(4)] == ["tinker://3", "tinker://1", "tinker://2", "tinker://3"]
    await add(0, "one")  # a repeat changes nothing
    assert await path(3) == "tinker://3"


async def test_every_client_that_joins_is_another(opened: Database) -> None:
    await opened.run(lambda c: samplers.add(c, SamplerRow("s", "ses", "ada", "tiny", None)))
    assert [await opened.run(lambda c: samplers.join(c, "s")) for _ in range(3)] == [1, 2, 3]


async def test_sequences_are_kept_a_day_after_their_last_use(database: Database, monkeypatch: Any) -> None:
    def at(hours: float) -> None:
        monkeypatch.setattr(sequences.time, "time", lambda: hours * 3600)

    async def add(name: str) -> None:
        await database.run(lambda c: sequences.add(c, "ada", [SequenceRow(name, b"abcd", b"efgh")]))

    async def known(name: str, tenant: str = "ada") -> bool:
        return await database.run(lambda c: sequences.find(c, tenant, name)) is not None

    at(0)
    await add("used")
    await add("unused")
    at(20)
    assert await known("used")
    assert not await known("used", "eve")
    at(30)
    assert [await known("used"), await known("unused")] == [True, False]
    await add("new")
    left = "SELECT count(*) AS n FROM sequences"
    assert await database.run(lambda c: c.execute(left).fetchone()["n"]) == 2
    monkeypatch.setattr(sequences, "_KEPT", 1)
    await add("newer")
    assert [await known(name) for name in ("used", "new", "newer")] == [False, False, True]
