"""Who leads: of all processes with one Postgres and one data folder, the one that holds a lock there.

The lock only elects. What keeps two from writing is the term, a number in the one row of `house` that grows each time
somebody else takes over: every commit names its own (`store/postgres.py`). So a leader whose connection was cut goes on
if it gets the lock again before anybody else did, and the row is also where its address is found.
"""

import logging
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anubhav.errors import AnubhavError, BadInput
from anubhav.store.connection import Row
from anubhav.store.dialect import define
from anubhav.store.lines import Unreached, connect, end_others, is_cut
from anubhav.store.migrations import STEPS, refuse_newer
from anubhav.store.postgres import STORE
from anubhav.types.ids import new_id

if TYPE_CHECKING:
    from psycopg import Connection

TOKEN = "store-token"
"""The file in a data folder that says which database its rows are in."""
_LOCK: Final = "SELECT pg_try_advisory_lock(1634628984, hashtext(current_schema()))"
_HOUSE: Final = (
    "CREATE TABLE IF NOT EXISTS house (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL DEFAULT 0,"
    " term BIGINT NOT NULL DEFAULT 0, commits BIGINT NOT NULL DEFAULT 0, address TEXT, token TEXT)"
)
_PATIENCE = 30.0
"""Seconds in which a leader that was cut off may take its lock again."""
_GRACE = 3.0
"""Seconds in which nobody else takes it, once Postgres is there again after a cut that all of them felt."""

log = logging.getLogger(__name__)


class Candidate:
    """A process that leads or would lead. Its methods wait for Postgres, and are called one at a time."""

    def __init__(self, url: str, folder: Path, *, patience: float = _PATIENCE) -> None:
        """Raises what keeps the database or the folder from being used."""
        self.leader: str | None = None
        """The address of whoever leads or led last."""
        self._url, self._folder, self._patience = url, folder, patience
        self._name = new_id("anubhav-lead")
        self._line: Connection[Row] | None = connect(url, self._name)
        self._locked = self._closed = False
        self._back_since = float("-inf")
        try:
            row = self._line.execute("SELECT host(inet_client_addr())").fetchone()
            self.near: str = row[0] if row and row[0] else "127.0.0.1"
            """This machine's address as Postgres sees it: 127.0.0.1 when both are on one machine."""
            self._look(self._line)
        except BaseException:
            self.close()
            raise

    def stand(self, address: str) -> int | None:
        """The term, when the lead was free and is taken; otherwise looks who leads. `address`: where others find it."""
        try:
            line = self._line or self._connect()
            if time.monotonic() - self._back_since > _GRACE and self._lock(line):
                return self._begin(line, address)
            self._look(line)
        except Exception as problem:
            if not (is_cut(problem) or isinstance(problem, Unreached)):
                raise
            self._lose(problem)
        return None

    def holds(self, term: int) -> bool:
        """Whether this process still leads; takes the lock again if only the connection was lost."""
        until = time.monotonic() + self._patience
        while not self._closed:
            try:
                if self._locked and self._line is not None:
                    self._line.execute("SELECT 1")
                    return True
                line = self._line or self._connect()
                if not _is_term(line, term):
                    return False
                if self._lock(line):
                    log.warning("this server has its lock again")
                    return _is_term(line, term)  # in between, somebody may have led and gone
            except Exception as problem:
                if not (is_cut(problem) or isinstance(problem, AnubhavError)):
                    raise
                self._lose(problem)
            if time.monotonic() > until:
                break
            time.sleep(0.2)
        return False

    def close(self) -> None:
        """Lets go of the lead, for good."""
        self._closed = True
        self._hang_up()

    def _connect(self) -> "Connection[Row]":
        line = self._line = connect(self._url, self._name)
        self._back_since = time.monotonic()
        end_others(line, self._name)  # the lost connection may hold the lock still
        return line

    def _lose(self, problem: Exception) -> None:
        if self._line is not None:
            log.warning("no connection to the database: %s", type(problem).__name__)
        self._hang_up()

    def _hang_up(self) -> None:
        self._locked = False
        if self._line is not None:
            self._line.close()
            self._line = None

    def _lock(self, line: "Connection[Row]") -> bool:
        row = line.execute(_LOCK).fetchone()
        self._locked = bool(row and row[0])
        return self._locked

    def _begin(self, line: "Connection[Row]", address: str) -> int:
        end_others(line, STORE)  # what a leader before left open would be waited for
        _migrate(line)
        _match(line, self._folder)
        row = line.execute(
            "UPDATE house SET term = term + 1, commits = 0, address = %s RETURNING term", (address,)
        ).fetchone()
        self.leader = address
        assert row is not None
        return row[0]

    def _look(self, line: "Connection[Row]") -> None:
        there = line.execute("SELECT to_regclass('house') IS NOT NULL").fetchone()
        row = line.execute("SELECT version, address, token FROM house").fetchone() if there and there[0] else None
        if row is None:
            return
        refuse_newer(row["version"])
        if row["token"] is not None and row["token"] != _token_of(self._folder):
            raise _other_folder()
        self.leader = row["address"]


def rows_elsewhere(folder: Path) -> bool:
    return (folder / TOKEN).is_file()


def refuse_rows_elsewhere(folder: Path) -> None:
    """Raises BadInput where the rows of a data folder are in Postgres: without them, all of it would look left over."""
    if rows_elsewhere(folder):
        raise BadInput(
            "The rows of this data folder are in Postgres",
            hint="Name it with --store. It is backed up with pg_dump, and then the folder (docs/replicas.md).",
        )


def _migrate(line: "Connection[Row]") -> None:
    import psycopg

    try:
        with line.transaction():
            line.execute(_HOUSE)
            line.execute("INSERT INTO house (one) VALUES (1) ON CONFLICT DO NOTHING")
            row = line.execute("SELECT version FROM house").fetchone()
            version: int = row[0] if row else 0
            refuse_newer(version)
            for step in STEPS[version:]:
                for statement in filter(str.strip, step.split(";\n")):
                    for one in define(statement):
                        line.execute(one.encode(), ())
            line.execute("UPDATE house SET version = %s", (len(STEPS),))
    except psycopg.errors.InsufficientPrivilege as problem:
        raise BadInput(
            "The role may not make tables in this database",
            hint="Give it a database of its own: createdb --owner=ROLE.",
        ) from problem
    except psycopg.errors.DuplicateTable as problem:
        raise BadInput(
            "The database holds tables of something else", hint="Give the store a database of its own: createdb."
        ) from problem


def _match(line: "Connection[Row]", folder: Path) -> None:
    """The folder of a new database is marked as its own; that of an older one has to have its mark."""
    row = line.execute("SELECT token FROM house").fetchone()
    known, found = row and row[0], _token_of(folder)
    if known is None and found is None:
        known = secrets.token_hex(16)
        (folder / TOKEN).write_text(f"{known}\n", encoding="ascii")
        line.execute("UPDATE house SET token = %s", (known,))
    elif known != found:
        raise _other_folder()


def _is_term(line: "Connection[Row]", term: int) -> bool:
    row = line.execute("SELECT term FROM house").fetchone()
    return row is not None and row[0] == term


def _token_of(folder: Path) -> str | None:
    file = folder / TOKEN
    return file.read_text(encoding="ascii").strip() if file.is_file() else None


def _other_folder() -> BadInput:
    return BadInput(
        "The rows in this database belong to another data folder",
        hint="Every server of a store has the same --data-dir, on a disk they share: its checkpoints lie there.",
    )
