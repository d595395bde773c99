"""One SQLite connection in one thread, with group commit: every write that waits together is made durable together.

`await database.run(work)` runs `work(connection)` in that thread inside its own savepoint and returns after the commit
is on disk (WAL, synchronous=FULL), so whatever an answer tells a client has already survived a crash. A work that
raises is rolled back alone. One connection also avoids SQLite's WAL-reset corruption (3.7.0 to 3.51.2),
which needs two.
"""

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from anubhav.errors import AnubhavError, Broken, Unavailable
from anubhav.store.migrations import migrate

Connection = sqlite3.Connection
"""For the rooms that compose works: they name the store's connection without importing a driver."""
T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
# secure_delete: what somebody has erased must not stay readable in pages that were moved or freed.
_PRAGMAS = (
    "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON",
)  # fmt: skip
_WAL_RESET = ((3, 7, 0), (3, 51, 2))
_PAGES = 256
"""A megabyte: what is copied before other works have their turn."""
_SETTINGS = ("quotas", "release_policies", "trials", "live", "probes")
"""Tables that every request asks and few change."""
_RECALLED = 1024
_GROUP = 256
"""At most this many works share a commit, so that a flood cannot hold up the first of them for long."""

log = logging.getLogger(__name__)


def find_sqlite() -> tuple[str, bool]:
    """Its version, and whether two connections to a database in WAL mode can damage it."""
    return sqlite3.sqlite_version, _WAL_RESET[0] <= sqlite3.sqlite_version_info <= _WAL_RESET[1]


class Database:
    def __init__(self, file: Path | str) -> None:
        """Opens and migrates `file` (":memory:" for tests); raises Unavailable if another server holds it."""
        self._works: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._connection = _connect(file)
        self._recalled: dict[Hashable, tuple[int, Any]] = {}
        self._changes = 0
        """Of rows of the settings, so far."""
        _watch(self._connection, self._tell_changed)
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise Unavailable("The store is closed: the server is stopping", hint="Repeat the request in a moment.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._works.put((work, future))
        # A caller that goes away must not undo what others wait for; the work itself always runs.
        return await asyncio.shield(future)

    async def recall(self, key: Hashable, work: Callable[[sqlite3.Connection], T]) -> T:
        """Like `run`, for a work that reads settings (`_SETTINGS`) alone: kept in memory until one of them changes.

        What changed counts from before its commit on, so whoever was told of a change sees it.
        """
        known = self._recalled.get(key)
        if known is None or known[0] != self._changes:
            known = await self.run(lambda connection: (self._changes, work(connection)))
            if len(self._recalled) >= _RECALLED:
                self._recalled.clear()
            self._recalled[key] = known
        return known[1]

    async def forget_log(self) -> None:
        """Write what is in the log into the database and empty it: it still holds what was deleted before."""
        await self.run(_forget_log)

    async def copy(self, to: Path, then: Callable[[], None]) -> None:
        """Write all of it into the new file `to`, durably; other works go on meanwhile and are in it as well.

        `then` runs before any work that is not in it.
        """
        await self.run(_Copy(to, then, self._between))

    def close(self) -> None:
        """Finish every work handed in so far, then close. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._works.put(None)
            self._thread.join()
            self._connection.close()

    def _tell_changed(self) -> None:
        self._changes += 1

    def _serve(self) -> None:
        while True:
            batch = [self._works.get()]
            while len(batch) < _GROUP and not self._works.empty():
                batch.append(self._works.get())
            self._commit([item for item in batch if item and not _is_apart(item[0])])
            for work, future in [item for item in batch if item and _is_apart(item[0])]:
                self._do_apart(work, future)
            if None in batch:
                return

    def _do_apart(self, work: Work, future: asyncio.Future[Any]) -> None:
        """Outside any transaction."""
        try:
            _settle(future, work(self._connection), None)
        except (OSError, sqlite3.Error) as problem:
            _settle(future, None, _failure(problem))

    def _between(self) -> None:
        """What waits by now, between two parts of a work apart; other such works and the end keep waiting."""
        batch = [self._works.get() for _ in range(min(_GROUP, self._works.qsize()))]
        self._commit([item for item in batch if item and not _is_apart(item[0])])
        for item in batch:
            if item is None or _is_apart(item[0]):
                self._works.put(item)

    def _commit(self, batch: list[tuple[Work, asyncio.Future[Any]]]) -> None:
        if not batch:
            return
        results: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        try:
            self._connection.execute("BEGIN")
            for work, future in batch:
                results.append((future, *self._attempt(work)))
            self._connection.execute("COMMIT")
        except Exception as problem:  # noqa: BLE001 - without this thread everybody would wait for ever
            self._back_out()
            if len(batch) > 1:
                # What one work met is not its neighbours': reads go on while the disk is full.
                for item in batch:
                    self._commit([item])
                return
            results = [(batch[0][1], None, _failure(problem))]
        for future, value, error in results:
            _settle(future, value, error)

    def _back_out(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("the store could not take a transaction back")

    def _attempt(self, work: Work) -> tuple[Any, BaseException | None]:
        self._connection.execute("SAVEPOINT work")
        try:
            value, error = work(self._connection), None
        except Exception as problem:
            if isinstance(problem, sqlite3.DatabaseError) and not isinstance(problem, _OF_THE_WORK):
                raise  # it may have ended the transaction already
            self._connection.execute("ROLLBACK TO work")
            value, error = None, problem
        self._connection.execute("RELEASE work")
        return value, error


@dataclass(frozen=True, slots=True)
class _Copy:
    to: Path
    then: Callable[[], None]
    between: Callable[[], None]

    def __call__(self, connection: sqlite3.Connection) -> None:
        copy = sqlite3.connect(self.to, isolation_level=None)
        try:
            connection.backup(copy, pages=_PAGES, progress=self._pass)
            self.then()
        finally:
            copy.close()
        with self.to.open("rb") as file:
            os.fsync(file.fileno())

    def _pass(self, _status: int, left: int, _pages: int) -> None:
        if left:  # what comes after the last part would not be in it
            self.between()


def _is_apart(work: Work) -> bool:
    return work is _forget_log or isinstance(work, _Copy)


def _forget_log(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        log.exception("the store's log could not be emptied")


_OF_THE_WORK = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
"""What SQLite raises for what a work asked for. The rest is for the disk and the file to answer."""
_PERMANENT = ("malformed", "not a database", "no such", "syntax error")


def _failure(problem: Exception) -> AnubhavError:
    full = isinstance(problem, (sqlite3.OperationalError, OSError))
    if full and not any(sign in str(problem) for sign in _PERMANENT):
        log.error("the store could not commit: %s", problem)
        return Unavailable(
            "The server cannot write to its disk now, so nothing was accepted",
            hint="Free some space in the data folder and repeat the request.",
        )
    log.error("the store failed", exc_info=problem)
    return Broken("The server's database failed", hint="The server's log says why; it may need its backup.")


def _settle(future: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:
        log.debug("the event loop was closed before a stored result could be handed over")


def _watch(connection: sqlite3.Connection, tell: Callable[[], None]) -> None:
    connection.create_function("tell_changed", 0, tell)
    for table in _SETTINGS:
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
            hint="Is another server running on the same data folder? Stop it or choose another --data-dir.",
        ) from problem
    except sqlite3.DatabaseError as problem:
        raise Broken(
            f"The data folder's database is damaged ({problem})", hint="Restore it from a backup."
        ) from problem
    return connection
