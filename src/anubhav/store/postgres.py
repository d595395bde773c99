"""The store in Postgres, for a house that several processes serve, of which one leads (`store/leading.py`).

Every group of writes also writes its number into the one row of `house`, if the row still has this process's term. So
whoever leads no more cannot commit, and when a COMMIT gets no answer the row tells afterwards whether it was done: such
a group waits until that is known, and is neither acknowledged before nor done twice. Groups that had not come so far
are done on the next connection, or refused when there is none in time.
"""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NoReturn

from anubhav.errors import AnubhavError, BadInput, Broken, Unavailable
from anubhav.store.connection import Connection, Row, Rows, Values
from anubhav.store.dialect import changed, translate
from anubhav.store.lines import connect, end_others, is_cut
from anubhav.store.sqlite import SETTINGS
from anubhav.types.ids import new_id

if TYPE_CHECKING:
    import psycopg

STORE = "anubhav-store"
"""As what Postgres lists the connections of whoever leads."""
PATIENCE = 30.0
"""Seconds without a connection until works are refused. A restart takes less."""
_PAUSES = (0.05, 0.1, 0.2, 0.5)
_FULL = ("53", "54", "58")
"""Classes of SQLSTATE: no room, a limit of the server's, its disk."""

log = logging.getLogger(__name__)


class Deposed(Unavailable):
    """Another process leads, or may: this one answers nothing any more."""


class _Undone(Exception):
    """The connection was cut, and nothing of the group is there."""


class Postgres:
    """An engine of the store, for the term in which this process leads."""

    def __init__(self, url: str, term: int, *, patience: float = PATIENCE) -> None:
        self.changes = 0
        self._url, self._term, self._patience = url, term, patience
        self._name = new_id(STORE)
        self._stopped = Event()
        self._line: psycopg.Connection[Row] | None = connect(url, self._name)
        self._down_since: float | None = None
        self._commits: int = self._read_commits(self._line)
        self._marked = False

    @property
    def connection(self) -> Connection:
        return self

    def execute(self, sql: str, parameters: Values = (), /) -> Rows:
        import psycopg

        self._meet(sql)
        try:
            return self._now().execute(translate(sql).encode(), parameters)
        except psycopg.DataError as problem:
            _refuse(problem)

    def executemany(self, sql: str, parameters: Iterable[Values], /) -> Rows:
        import psycopg

        self._meet(sql)
        cursor = self._now().cursor()
        try:
            cursor.executemany(translate(sql).encode(), list(parameters))
        except psycopg.DataError as problem:
            _refuse(problem)
        return cursor

    def begin(self) -> None:
        line = self._line or self._reconnect()
        self._marked = False
        cursor = line.execute("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT term FROM house")
        cursor.nextset()
        self._check(cursor.fetchone())

    def commit(self) -> None:
        try:
            self._now().execute("COMMIT")
        except Exception as problem:
            if not self._marked or not is_cut(problem):
                raise
            self._resolve()
        self._commits += self._marked

    def back_out(self) -> None:
        import psycopg

        if self._line is None:
            return
        try:
            self._line.execute("ROLLBACK")
        except psycopg.Error:
            self._hang_up()

    def ends_the_group(self, problem: Exception) -> bool:
        import psycopg

        of_the_work = (psycopg.IntegrityError, psycopg.DataError)
        return isinstance(problem, Deposed) or (
            isinstance(problem, psycopg.Error) and not isinstance(problem, of_the_work)
        )

    def is_cut(self, problem: Exception) -> bool:
        return isinstance(problem, _Undone) or is_cut(problem)

    def explain(self, problem: Exception) -> AnubhavError:
        state: str = getattr(problem, "sqlstate", None) or ""
        if self.is_cut(problem) or state[:2] in _FULL:
            log.error("the store could not commit: %s", problem)
            return Unavailable(
                "The server cannot write to its database now, so nothing was accepted",
                hint="Repeat the request; if this lasts, see whether Postgres has room.",
            )
        log.error("the store failed", exc_info=problem)
        return Broken("The server's database failed", hint="The server's log says why.")

    def forget_log(self) -> None:
        """Postgres sweeps by itself what was deleted (autovacuum), and keeps its log as it was told to."""

    def copy(self, to: Path, then: Callable[[], None], between: Callable[[], None]) -> None:
        raise BadInput(
            "The rows of this server are in Postgres, which its own tools copy",
            hint="Type pg_dump --format=custom --file=anubhav.dump URL and then copy the data folder"
            " (docs/replicas.md).",
        )

    def stop_waiting(self) -> None:
        """The process ends: what has no connection is refused now."""
        self._stopped.set()

    def close(self) -> None:
        self._hang_up()

    def _now(self) -> "psycopg.Connection[Row]":
        if self._line is None:
            raise _Undone
        return self._line

    def _meet(self, sql: str) -> None:
        """Before the first change of a group, its number; a change of settings is counted."""
        table = changed(sql)
        self.changes += table in SETTINGS
        if table is not None and not self._marked:
            mark = "UPDATE house SET commits = %s WHERE term = %s RETURNING term"
            self._check(self._now().execute(mark, (self._commits + 1, self._term)).fetchone())
            self._marked = True

    def _check(self, row: Row | None) -> None:
        if row is None or row[0] != self._term:
            raise Deposed("This server no longer leads: another one took over", hint="Repeat the request in a moment.")

    def _resolve(self) -> None:
        """Wait until it is known whether the group whose COMMIT got no answer is there. Returns only if it is."""
        log.warning("the database did not answer a commit: asking it what became of that")
        self._hang_up()
        while True:
            try:
                found = self._read_commits(self._reconnect(patient=False))
                break
            except Deposed:
                raise
            except Exception as problem:  # noqa: BLE001 - whatever it is, what was done must be known first
                log.warning("what became of a commit is not known yet: %s", type(problem).__name__)
                self._hang_up()
                if self._stopped.wait(_PAUSES[-1]):
                    raise Unavailable("The server stops and does not know what its database did") from None
        if found == self._commits:
            raise _Undone

    def _read_commits(self, line: "psycopg.Connection[Row]") -> int:
        """Waits for a transaction of before that is still on its way."""
        row = line.execute("SELECT term, commits FROM house FOR UPDATE").fetchone()
        self._check(row)
        return row[1] if row else 0

    def _reconnect(self, *, patient: bool = True) -> "psycopg.Connection[Row]":
        """Tries for as long as the store's patience lasts, counted from the moment the connection was lost."""
        import psycopg

        since = self._down_since = self._down_since or time.monotonic()
        tried = 0
        while True:
            try:
                line = self._line = connect(self._url, self._name)
                end_others(line, self._name)
                self._down_since = None
                return line
            except (psycopg.Error, AnubhavError) as problem:
                self._hang_up()
                waited = time.monotonic() - since
                if not patient or self._stopped.is_set() or waited > self._patience:
                    raise _away() from problem
            self._stopped.wait(_PAUSES[min(tried, len(_PAUSES) - 1)])
            tried += 1

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _away() -> Unavailable:
    return Unavailable("The server has no connection to its database now", hint="Repeat the request in a moment.")


def _refuse(problem: Exception) -> NoReturn:
    raise BadInput(
        "The request holds a value that the database cannot keep",
        hint="Text may have no NUL characters, and whole numbers no more than 64 bits.",
    ) from problem
