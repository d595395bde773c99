"""Sessions as their owner looks at them: listed, searched, moved into projects, and their timeline as a trace."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from anubhav.errors import BadInput, NotFound
from anubhav.store import runs
from anubhav.store import sessions as rows
from anubhav.store.database import Database
from anubhav.store.sessions import Moment, SessionInfo, Wanted

__all__ = ["SessionInfo", "Sessions", "Wanted"]

_MICRO = 1_000_000


class Sessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def describe(self, tenant: str, session: str, project: str | None, display_name: str | None) -> None:
        """Give it a project and a name at its beginning; what is None stays."""
        await self.find(tenant, session)
        await self._database.run(lambda c: runs.describe_session(c, session, project, display_name))

    async def find(self, tenant: str, session: str) -> SessionInfo:
        """Raises NotFound for no session, or another tenant's."""
        found = await self._database.run(lambda c: rows.find(c, tenant, session))
        if found is None:
            raise NotFound(f"There is no session {session[:100]}", hint="List yours with `tinker session list`.")
        return found

    async def parts(self, tenant: str, session: str) -> tuple[list[str], list[str]]:
        """(runs, sampling sessions), oldest first."""
        await self.find(tenant, session)
        return await self._database.run(lambda c: rows.parts(c, session))

    async def ids(self, tenant: str) -> list[str]:
        """Newest first."""
        return await self._database.run(lambda c: rows.list_of(c, tenant))

    async def count(self) -> int:
        """Those of all tenants that did not end."""
        return await self._database.run(rows.count_open)

    async def search(self, tenant: str, wanted: Wanted, limit: int) -> tuple[list[SessionInfo], bool]:
        """The newest that fit, and whether there are more."""
        found = await self._database.run(lambda c: rows.search(c, tenant, wanted, limit + 1))
        return found[:limit], len(found) > limit

    async def move(self, tenant: str, session: str, project: str) -> None:
        """Into a project, which is a name and comes to be by being used."""
        await self.find(tenant, session)
        if not project.strip():
            raise BadInput("The project has no name", hint="Give its id.")
        await self._database.run(lambda c: rows.move(c, session, project))

    async def trace(self, tenant: str, session: str) -> dict[str, Any]:
        """The session's timeline in Chrome's trace format, which Perfetto opens: a track for each run."""
        found = await self.find(tenant, session)
        moments = await self._database.run(lambda c: rows.moments(c, session))
        events: list[Mapping[str, Any]] = [_name("process_name", 0, found.display_name or session)]
        for track, (run, ops) in enumerate(groupby(moments, lambda moment: moment.run), start=1):
            events += [_name("thread_name", track, run), *_slices(track, ops)]
        return {"displayTimeUnit": "ms", "otherData": {"session_id": session}, "traceEvents": events}


def _name(what: str, track: int, name: str) -> Mapping[str, Any]:
    return {"ph": "M", "name": what, "pid": 1, "tid": track, "args": {"name": name}}


def _slices(track: int, ops: Iterator[Moment]) -> Iterator[Mapping[str, Any]]:
    """One operation of a run is done at a time, so each began when it was there and the one before was done."""
    before = 0.0
    for op in ops:
        begun = max(before, op.asked_at)
        details = {"seq": op.seq, "state": op.state, "waited_ms": (begun - op.asked_at) * 1000, "tokens": op.tokens}
        place = {"name": op.kind, "cat": "training", "pid": 1, "tid": track, "args": details}
        if op.done_at is None:
            yield place | {"ph": "i", "s": "t", "ts": round(op.asked_at * _MICRO)}
            continue
        done = max(begun, op.done_at)
        before = done
        start = round(begun * _MICRO)
        yield place | {"ph": "X", "ts": start, "dur": round(done * _MICRO) - start}
