"""One connection in one thread, with group commit: every write that waits together is made durable together.

`await database.run(work)` runs `work(connection)` in that thread inside its own savepoint and returns after the commit
is on disk, so whatever an answer tells a client has already survived a crash. A work that raises is rolled back alone.
A work may be run again before it is answered, always after it was taken back. What it runs on is an engine: SQLite, or
Postgres where more than one process serves (docs/replicas.md).
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from anubhav.errors import AnubhavError, Unavailable
from anubhav.store.connection import Connection as Connection  # for the rooms that compose works
from anubhav.store.sqlite import Sqlite

T = TypeVar("T")
Work = Callable[[Connection], Any]
Item = tuple[Work, "asyncio.Future[Any]"]
_RECALLED = 1024
_GROUP = 256
"""At most this many works share a commit, so that a flood cannot hold up the first of them for long."""
_TRIES = 3
"""Of a group that lost its connection; then of each work in it alone, as one of them may be what cuts it."""

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What keeps the rows. Everything is called in the store's thread, but for `changes` and `close`."""

    @property
    def connection(self) -> Connection: ...
    @property
    def changes(self) -> int:
        """Of rows of the settings, so far; counted before their commit."""
        ...

    def begin(self) -> None:
        """Open a transaction. Raises one of the house's errors when that is not possible now, for nobody."""
        ...

    def commit(self) -> None:
        """Make it durable. What it raises says that nothing was."""
        ...

    def back_out(self) -> None: ...
    def ends_the_group(self, problem: Exception) -> bool:
        """Whether the transaction may be gone with what a work met, and not only that work's part."""
        ...

    def is_cut(self, problem: Exception) -> bool:
        """Whether it was the connection's fault, so that the same can be done on another one."""
        ...

    def explain(self, problem: Exception) -> AnubhavError: ...
    def forget_log(self) -> None: ...
    def copy(self, to: Path, then: Callable[[], None], between: Callable[[], None]) -> None: ...
    def stop_waiting(self) -> None:
        """The process ends: what cannot be done now is not waited for. From any thread."""
        ...

    def close(self) -> None: ...


class Database:
    def __init__(self, place: Path | str | Engine) -> None:
        """SQLite's file (":memory:" for tests), opened and migrated, or an engine that is."""
        self._works: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._engine: Engine = Sqlite(place) if isinstance(place, (Path, str)) else place
        self._recalled: dict[Hashable, tuple[int, Any]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Connection], T]) -> T:
        return await self._hand_in(work)

    async def recall(self, key: Hashable, work: Callable[[Connection], T]) -> T:
        """Like `run`, for a work that reads settings alone: kept in memory until one of them changes.

        What changed counts from before its commit on, so whoever was told of a change sees it.
        """
        known = self._recalled.get(key)
        if known is None or known[0] != self._engine.changes:
            known = await self.run(lambda connection: (self._engine.changes, work(connection)))
            if len(self._recalled) >= _RECALLED:
                self._recalled.clear()
            self._recalled[key] = known
        return known[1]

    async def forget_log(self) -> None:
        """See to it that what was deleted before is not left where the engine can reach it."""
        await self._hand_in(_Apart(self._engine.forget_log))

    async def copy(self, to: Path, then: Callable[[], None]) -> None:
        """Write all of it into the new file `to`, durably; other works go on meanwhile and are in it as well.

        `then` runs before any work that is not in it.
        """
        await self._hand_in(_Apart(lambda: self._engine.copy(to, then, self._between)))

    def close(self) -> None:
        """Finish every work handed in so far, then close. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._engine.stop_waiting()
            self._works.put(None)
            self._thread.join()
            self._engine.close()

    async def _hand_in(self, work: Work) -> Any:
        if self._closed:
            raise Unavailable("The store is closed: the server is stopping", hint="Repeat the request in a moment.")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._works.put((work, future))
        # A caller that goes away must not undo what others wait for; the work itself always runs.
        return await asyncio.shield(future)

    def _serve(self) -> None:
        while True:
            batch = [self._works.get()]
            while len(batch) < _GROUP and not self._works.empty():
                batch.append(self._works.get())
            self._commit([item for item in batch if item and not isinstance(item[0], _Apart)])
            for work, future in [item for item in batch if item and isinstance(item[0], _Apart)]:
                self._do_apart(work, future)
            if None in batch:
                return

    def _do_apart(self, work: Work, future: "asyncio.Future[Any]") -> None:
        """Outside any transaction."""
        try:
            _settle(future, work(self._engine.connection), None)
        except AnubhavError as problem:
            _settle(future, None, problem)
        except Exception as problem:  # noqa: BLE001 - without this thread everybody would wait for ever
            _settle(future, None, self._engine.explain(problem))

    def _between(self) -> None:
        """What waits by now, between two parts of a work apart; other such works and the end keep waiting."""
        batch = [self._works.get() for _ in range(min(_GROUP, self._works.qsize()))]
        self._commit([item for item in batch if item and not isinstance(item[0], _Apart)])
        for item in batch:
            if item is None or isinstance(item[0], _Apart):
                self._works.put(item)

    def _commit(self, batch: list[Item], tries: int = _TRIES) -> None:
        if not batch:
            return
        try:
            for future, value, error in self._do_together(batch):
                _settle(future, value, error)
        except AnubhavError as problem:
            self._engine.back_out()
            for _, future in batch:
                _settle(future, None, problem)
        except Exception as problem:  # noqa: BLE001 - without this thread everybody would wait for ever
            self._engine.back_out()
            self._do_again(batch, problem, tries)

    def _do_together(self, batch: list[Item]) -> list[tuple["asyncio.Future[Any]", Any, BaseException | None]]:
        self._engine.begin()
        results = [(future, *self._attempt(work)) for work, future in batch]
        self._engine.commit()
        return results

    def _do_again(self, batch: list[Item], problem: Exception, tries: int) -> None:
        if tries > 1 and self._engine.is_cut(problem):
            self._commit(batch, tries - 1)
        elif len(batch) > 1:
            # What one work met is not its neighbours': reads go on while the disk is full.
            for item in batch:
                self._commit([item])
        else:
            _settle(batch[0][1], None, self._engine.explain(problem))

    def _attempt(self, work: Work) -> tuple[Any, BaseException | None]:
        connection = self._engine.connection
        connection.execute("SAVEPOINT work")
        try:
            value, error = work(connection), None
        except Exception as problem:
            if self._engine.ends_the_group(problem):
                raise
            connection.execute("ROLLBACK TO work")
            value, error = None, problem
        connection.execute("RELEASE work")
        return value, error


class _Apart:
    """A work that is no part of a transaction."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def __call__(self, _: Connection) -> None:
        self._act()


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
