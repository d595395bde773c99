"""What the rest of the house takes for granted: committed before answered, alone when it fails, once per folder."""

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from anubhav.errors import Broken, Unavailable
from anubhav.store import quotas
from anubhav.store.database import Connection, Database
from anubhav.store.migrations import STEPS
from anubhav.types.quotas import Quota


def add(name: str) -> Callable[[Connection], object]:
    return lambda c: c.execute("INSERT INTO cursors VALUES (?, 'default', 0)", (name,))


def names(connection: Connection) -> list[str]:
    return [row["stage"] for row in connection.execute("SELECT stage FROM cursors ORDER BY rowid")]


async def test_what_was_answered_is_on_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    await asyncio.gather(*(database.run(add(f"stage {number}")) for number in range(50)))
    # What a crash would leave: the files as they are at this moment, without a close.
    for name in ("a.db", "a.db-wal"):
        (tmp_path / f"copy-{name}").write_bytes((tmp_path / name).read_bytes())
    database.close()
    copy = Database(tmp_path / "copy-a.db")
    assert await copy.run(names) == [f"stage {number}" for number in range(50)]
    copy.close()


async def test_a_work_that_fails_is_undone_alone(database: Database) -> None:
    def fail(connection: Connection) -> None:
        add("half")(connection)
        raise ValueError("no")

    results = await asyncio.gather(
        database.run(add("one")), database.run(fail), database.run(add("two")), return_exceptions=True
    )
    assert isinstance(results[1], ValueError)
    assert await database.run(names) == ["one", "two"]


async def test_a_caller_that_goes_away_undoes_nothing(database: Database) -> None:
    task = asyncio.create_task(database.run(add("kept")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.run(names) == ["kept"]


async def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    await database.run(add("one"))
    code = "import sys; from anubhav.store.database import Database; Database(sys.argv[1])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "a.db"), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode != 0
    assert b"Unavailable" in said
    assert b"Is another server running" in said
    assert b"--store" in said
    assert await database.run(names) == ["one"]
    database.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    connection.close()
    with pytest.raises(Unavailable, match="newer Anubhav"):
        Database(tmp_path / "a.db")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(Broken, match="damaged"):
        Database(tmp_path / "a.db")


async def test_closed_is_told(database: Database) -> None:
    database.close()
    database.close()
    with pytest.raises(Unavailable, match="stopping"):
        await database.run(names)


async def test_a_full_disk_stops_what_needs_room_and_nothing_else(tmp_path: Path) -> None:
    """SQLite itself is out of room here; those who read and those who write wait for the same commit."""
    database = Database(tmp_path / "a.db")
    await database.run(add("one"))
    await database.run(lambda c: c.execute("PRAGMA max_page_count=1").fetchall())  # never less than there are
    results = await asyncio.gather(
        database.run(names), database.run(add("x" * 100_000)), database.run(names), return_exceptions=True
    )
    assert results[0] == results[2] == ["one"]
    assert isinstance(results[1], Unavailable)
    assert "disk" in str(results[1])
    await database.run(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchall())
    await database.run(add("two"))
    assert await database.run(names) == ["one", "two"]
    database.close()


async def test_what_no_room_can_mend_is_told_as_a_failure(database: Database) -> None:
    """Waiting for it, as for space, would never end."""
    results = await asyncio.gather(
        database.run(lambda c: c.execute("SELECT * FROM nothing")), database.run(add("one")), return_exceptions=True
    )
    assert isinstance(results[0], Broken)
    assert await database.run(names) == ["one"]


async def test_settings_are_kept_in_memory_until_one_of_them_changes(database: Database) -> None:
    asked: list[str] = []

    def find(connection: Connection) -> Quota:
        asked.append("ann")
        return quotas.find(connection, "ann")

    assert [await database.recall("ann", find) for _ in range(3)] == [Quota()] * 3
    await database.run(lambda c: quotas.spend(c, "ann", 7))
    assert (await database.recall("ann", find), len(asked)) == (Quota(), 1)
    for tokens in (5, 6):
        await database.run(lambda c, tokens=tokens: quotas.keep(c, "ann", Quota(tokens_a_day=tokens)))
        assert (await database.recall("ann", find)).tokens_a_day == tokens
    await database.run(lambda c: c.execute("DELETE FROM quotas"))
    assert (await database.recall("ann", find), len(asked)) == (Quota(), 4)


async def test_what_is_recalled_beside_a_change_that_is_undone_is_as_it_was(database: Database) -> None:
    def change(connection: Connection) -> None:
        quotas.keep(connection, "ann", Quota(tokens_a_day=5))
        raise ValueError("no")

    found = await asyncio.gather(
        database.run(change), database.recall("ann", lambda c: quotas.find(c, "ann")), return_exceptions=True
    )
    assert isinstance(found[0], ValueError)
    assert found[1] == await database.recall("ann", lambda c: quotas.find(c, "ann")) == Quota()
