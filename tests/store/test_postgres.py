"""What Postgres can do to a store, and what it must not: lose, double or acknowledge too early."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from throwaway_postgres import PASSWORD, ThrowawayPostgres

from anubhav.errors import BadInput, Unavailable
from anubhav.store.database import Connection, Database
from anubhav.store.leading import TOKEN, Candidate, refuse_rows_elsewhere
from anubhav.store.lines import connect, shown
from anubhav.store.postgres import Deposed, Postgres


def add(name: str) -> Callable[[Connection], object]:
    return lambda c: c.execute("INSERT INTO cursors VALUES (?, 'default', 0)", (name,))


def names(connection: Connection) -> list[str]:
    return [row["stage"] for row in connection.execute("SELECT stage FROM cursors ORDER BY rowid")]


@pytest.fixture
def url(postgres: ThrowawayPostgres, template: str) -> str:
    return postgres.create(template)


class Cutter:
    """Stands before Postgres. Cuts a line at its next COMMIT: before Postgres hears it, or before its answer is."""

    def __init__(self, port: int) -> None:
        self.cut: str | None = None
        self.cuts = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._port))
                for ends in ((line, there), (there, line)):
                    threading.Thread(target=self._carry, args=(*ends, line), daemon=True).start()

    def _carry(self, source: socket.socket, to: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source is client and self.cut and b"COMMIT" in data:
                    cut, self.cut = self.cut, None
                    self.cuts += 1
                    if cut == "after":
                        to.sendall(data)
                        time.sleep(0.3)  # its answer lies there, unread
                    break
                to.sendall(data)
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


@pytest.fixture
def cutter(postgres: ThrowawayPostgres) -> Iterator[Cutter]:
    cutter = Cutter(postgres.port)
    yield cutter
    cutter.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_without_an_answer_is_done_once(
    url: str, cutter: Cutter, postgres: ThrowawayPostgres, when: str
) -> None:
    database = Database(Postgres(url.replace(f":{postgres.port}/", f":{cutter.port}/"), 1))
    await database.run(add("first"))
    cutter.cut = when
    # Were the group done twice, the second of it would be a conflict.
    await asyncio.gather(database.run(add("one")), database.run(add("two")))
    assert cutter.cuts == 1
    assert await database.run(names) == ["first", "one", "two"]
    await database.run(add("last"))
    assert await database.run(names) == ["first", "one", "two", "last"]
    database.close()


async def test_works_wait_while_postgres_starts_again(url: str, postgres: ThrowawayPostgres) -> None:
    database = Database(Postgres(url, 1, patience=200))  # a start takes long where others use the machine
    await database.run(add("before"))
    postgres.kill()
    waiting = [asyncio.create_task(database.run(add(f"number {number}"))) for number in range(5)]
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in waiting)
    await asyncio.to_thread(postgres.start)
    await asyncio.gather(*waiting)
    assert await database.run(names) == ["before", *(f"number {number}" for number in range(5))]
    database.close()


async def test_what_waits_too_long_is_refused(url: str, postgres: ThrowawayPostgres) -> None:
    database = Database(Postgres(url, 1, patience=0.5))
    postgres.kill()
    try:
        with pytest.raises(Unavailable, match="no connection to its database"):
            await database.run(add("late"))
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no connection"):
            await database.run(names)
        assert time.monotonic() - began < 3
    finally:
        await asyncio.to_thread(postgres.start)
    assert await database.run(names) == []
    database.close()


async def test_who_does_not_lead_any_more_keeps_nothing(url: str, tmp_path: Path) -> None:
    first = Candidate(url, _folder_of(url, tmp_path))
    term = first.stand("http://first")
    assert term is not None
    database = Database(Postgres(url, term))
    await database.run(add("first"))
    second = Candidate(url, tmp_path)
    assert (second.stand("http://second"), second.leader) == (None, "http://first")
    assert first.holds(term)

    with connect(url) as line:  # its lock, and not what it does
        line.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                     " (SELECT oid FROM pg_database WHERE datname = current_database())")  # fmt: skip
    until = time.monotonic() + 10
    while (newer := second.stand("http://second")) is None:  # a backend that is ended needs a moment
        assert time.monotonic() < until
    assert newer == term + 1
    for work in (add("ghost"), names):
        with pytest.raises(Deposed):
            await database.run(work)
    other = Database(Postgres(url, newer))
    assert await other.run(names) == ["first"]
    assert not first.holds(term)
    for one in (database, other, first, second):
        one.close()


async def test_a_change_is_refused_in_the_middle_of_a_group(url: str, tmp_path: Path) -> None:
    """Somebody takes over after a group began: what it reads is of its time, and what it writes is not kept."""
    database = Database(Postgres(url, 1))
    second = Candidate(url, _folder_of(url, tmp_path))

    def work(connection: Connection) -> None:
        names(connection)
        with connect(url) as line:
            line.execute("UPDATE house SET term = term + 1")
        add("ghost")(connection)

    with pytest.raises(Deposed):
        await database.run(work)
    second.close()
    database.close()


def test_a_cut_leader_leads_on_and_nobody_else_is_quicker(
    url: str, postgres: ThrowawayPostgres, tmp_path: Path
) -> None:
    leader, other = Candidate(url, _folder_of(url, tmp_path), patience=200), Candidate(url, tmp_path)
    term = leader.stand("http://leader")
    assert term is not None
    postgres.kill()
    assert other.stand("http://other") is None
    postgres.start()
    assert other.stand("http://other") is None
    assert leader.holds(term)
    time.sleep(3.2)
    assert (other.stand("http://other"), other.leader) == (None, "http://leader")
    leader.close()
    other.close()


def test_a_folder_belongs_to_one_database(postgres: ThrowawayPostgres, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    url = postgres.create()
    first = Candidate(url, mine)
    assert first.stand("") == 1
    with pytest.raises(BadInput, match="in Postgres"):
        refuse_rows_elsewhere(mine)
    with pytest.raises(BadInput, match="another data folder"):
        Candidate(url, other)
    (other / TOKEN).write_text("somebody else's\n")
    stranger = Candidate(postgres.create(), other)
    with pytest.raises(BadInput, match="another data folder"):
        stranger.stand("")
    first.close()
    stranger.close()


def test_a_database_of_something_else_is_left_alone(postgres: ThrowawayPostgres, tmp_path: Path) -> None:
    url = postgres.create()
    with connect(url) as line:
        line.execute("CREATE TABLE keys (door TEXT)")
    candidate = Candidate(url, tmp_path)
    with pytest.raises(BadInput, match="tables of something else"):
        candidate.stand("")
    candidate.close()
    with connect(url) as line:
        assert line.execute("SELECT to_regclass('house')").fetchone()[0] is None  # type: ignore[index]
    refuse_rows_elsewhere(tmp_path)


def test_commits_wait_for_the_disk_whatever_the_role_was_told(url: str, postgres: ThrowawayPostgres) -> None:
    postgres.do(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit TO off")
    with connect(url) as line:
        assert line.execute("SHOW synchronous_commit").fetchone()[0] == "on"  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ((PASSWORD, "wrong-pw"), BadInput, "name and password"),
        (("/postgres", "/nothing"), BadInput, "no such database"),
        (("@127.0.0.1:", "@127.0.0.1:1"), BadInput, "no address"),
        (("//owner", "//own%er"), BadInput, "no address"),
    ],
)
def test_what_is_wrong_is_told_without_the_password(
    postgres: ThrowawayPostgres, change: tuple[str, str], error: Any, says: str
) -> None:
    wrong = postgres.url("postgres").replace(*change)
    with pytest.raises(error, match=says) as told:
        connect(wrong)
    assert PASSWORD not in str(told.value)
    assert "wrong-pw" not in str(told.value)
    assert told.value.__cause__ is None


def test_an_address_is_shown_without_its_password() -> None:
    assert (
        shown("postgresql://ann:secret@db:5433/house?sslmode=require&password=secret") == "postgresql://db:5433/house"
    )
    assert shown("postgresql:///house?host=/run/postgresql") == "postgresql:///house"


def _folder_of(url: str, folder: Path) -> Path:
    """Mark the folder as the one that the template was made with."""
    with connect(url) as line:
        row = line.execute("SELECT token FROM house").fetchone()
    assert row is not None
    (folder / TOKEN).write_text(f"{row[0]}\n")
    return folder
