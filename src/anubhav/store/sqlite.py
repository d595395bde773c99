"""The store in one SQLite file, held by one process (WAL, synchronous=FULL).

One connection also avoids SQLite's WAL-reset corruption (3.7.0 to 3.51.2), which needs two.
"""

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from anubhav.errors import AnubhavError, Broken, Unavailable
from anubhav.store.migrations import migrate

# secure_delete: what somebody has erased must not stay readable in pages that were moved or freed.
_PRAGMAS = (
    "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON",
)  # fmt: skip
_WAL_RESET = ((3, 7, 0), (3, 51, 2))
_PAGES = 256
"""A megabyte: what is copied before other works have their turn."""
SETTINGS = ("quotas", "release_policies", "trials", "live", "probes")
"""Tables that every request asks and few change."""
_OF_THE_WORK = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
"""What SQLite raises for what a work asked for. The rest is for the disk and the file to answer."""
_PERMANENT = ("malformed", "not a database", "no such", "syntax error")

log = logging.getLogger(__name__)


def find_sqlite() -> tuple[str, bool]:
    """Its version, and whether two connections to a database in WAL mode can damage it."""
    return sqlite3.sqlite_version, _WAL_RESET[0] <= sqlite3.sqlite_version_info <= _WAL_RESET[1]


class Sqlite:
    """An engine of the store."""

    def __init__(self, file: Path | str) -> None:
        """Opens and migrates `file`; raises Unavailable if another server holds it."""
        self._connection = _connect(file)
        self.changes = 0
        _watch(self._connection, self._tell_changed)

    @property
    def connection(self) -> sqlite3.Connection:
        return self._connection

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def back_out(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("the store could not take a transaction back")

    def ends_the_group(self, problem: Exception) -> bool:
        return isinstance(problem, sqlite3.DatabaseError) and not isinstance(problem, _OF_THE_WORK)

    def is_cut(self, problem: Exception) -> bool:
        """Never: a file is there or it is not."""
        return False

    def explain(self, problem: Exception) -> AnubhavError:
        full = isinstance(problem, (sqlite3.OperationalError, OSError))
        if full and not any(sign in str(problem) for sign in _PERMANENT):
            log.error("the store could not commit: %s", problem)
            return Unavailable(
                "The server cannot write to its disk now, so nothing was accepted",
                hint="Free some space in the data folder and repeat the request.",
            )
        log.error("the store failed", exc_info=problem)
        return Broken("The server's database failed", hint="The server's log says why; it may need its backup.")

    def forget_log(self) -> None:
        """Write what is in the log into the database and empty it: it still holds what was deleted before."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            log.exception("the store's log could not be emptied")

    def copy(self, to: Path, then: Callable[[], None], between: Callable[[], None]) -> None:
        def tell(_status: int, left: int, _pages: int) -> None:
            if left:  # what comes after the last part would not be in it
                between()

        copy = sqlite3.connect(to, isolation_level=None)
        try:
            self._connection.backup(copy, pages=_PAGES, progress=tell)
            then()
        finally:
            copy.close()
        with to.open("rb") as file:
            os.fsync(file.fileno())

    def stop_waiting(self) -> None:
        """It never waits."""

    def close(self) -> None:
        self._connection.close()

    def _tell_changed(self) -> None:
        self.changes += 1


def _watch(connection: sqlite3.Connection, tell: Callable[[], None]) -> None:
    connection.create_function("tell_changed", 0, tell)
    for table in SETTINGS:
        for change in ("INSERT", "UPDATE", "DELETE"):
            connection.execute(
                f"CREATE TEMP TRIGGER {table}_{change} AFTER {change} ON {table} BEGIN SELECT tell_changed(); END"
            )


def _connect(file: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=5)
    connection.row_factory = sqlite3.Row
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection)
    except sqlite3.OperationalError as problem:
        raise Unavailable(
            f"The data folder's database cannot be opened ({problem})",
            hint="Is another server running on the same data folder? Stop it or choose another --data-dir; several"
            " servers share a folder when they keep their rows in Postgres (--store).",
        ) from problem
    except sqlite3.DatabaseError as problem:
        raise Broken(
            f"The data folder's database is damaged ({problem})", hint="Restore it from a backup."
        ) from problem
    return connection
