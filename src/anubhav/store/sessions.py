"""Rows of sessions as their owner looks at them: listed, searched, moved into projects, and with their timeline."""

import itertools
from dataclasses import dataclass

import msgspec

from anubhav.store import usage
from anubhav.store.connection import Connection, Row

REASONS = ("success", "errored", "interrupted")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    id: str
    tenant: str
    metadata: dict[str, str]
    display_name: str | None
    project: str | None
    created_at: float
    finished: str | None
    """The reason its client gave; None while it is open."""
    detail: str | None
    checkpoints: int = 0
    size_bytes: int = 0

    @property
    def state(self) -> str:
        """`active`, `client_finished` with a reason of Tinker's, or `cancelled` for any other."""
        if self.finished is None:
            return "active"
        return "client_finished" if self.finished in REASONS else "cancelled"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search. Everything given must hold, except that either of `id` and `words` is enough."""

    id: str | None = None
    words: tuple[str, ...] = ()
    """Each must stand somewhere in the display name, in whatever case."""
    projects: tuple[str | None, ...] | None = None
    """None among them: in no project."""
    metadata: tuple[tuple[str, str], ...] = ()
    states: tuple[tuple[str, tuple[str, ...] | None], ...] | None = None
    """Any of these (state, reasons) pairs; None: whatever the state, or the reason."""
    after: tuple[float, str] | None = None
    """(created_at, id) of the last one on the page before."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An operation of a run on the session's timeline. Operations of one run come in their order."""

    run: str
    seq: int
    kind: str
    state: str
    asked_at: float
    done_at: float | None
    tokens: int | None


def find(connection: Connection, tenant: str, session: str) -> SessionInfo | None:
    row = connection.execute(f"{_SELECT} WHERE id = ? AND tenant = ?", (session, tenant)).fetchone()
    return _info(row) if row else None


def list_of(connection: Connection, tenant: str) -> list[str]:
    """Newest first."""
    rows = connection.execute("SELECT id FROM sessions WHERE tenant = ? ORDER BY created_at DESC, id DESC", (tenant,))
    return [row["id"] for row in rows]


def search(connection: Connection, tenant: str, wanted: Wanted, limit: int) -> list[SessionInfo]:
    """The newest `limit`, newest first."""
    at, last = wanted.after or (None, None)
    # The cursor's own time went over the wire and lost its last digits; its session still knows it.
    rows = connection.execute(
        f"{_SELECT} WHERE tenant = ? AND (? IS NULL OR (created_at, id)"
        " < (coalesce((SELECT created_at FROM sessions WHERE id = ? AND tenant = ?), ?), ?))"
        " ORDER BY created_at DESC, id DESC",
        (tenant, at, last, tenant, at, last),
    )
    return list(itertools.islice((info for info in map(_info, rows) if _fits(info, wanted)), limit))


def parts(connection: Connection, session: str) -> tuple[list[str], list[str]]:
    """(runs, sampling sessions), oldest first."""
    runs = connection.execute("SELECT id FROM runs WHERE session = ? ORDER BY created_at", (session,))
    samplers = connection.execute("SELECT id FROM samplers WHERE session = ? ORDER BY created_at", (session,))
    return [row["id"] for row in runs], [row["id"] for row in samplers]


def move(connection: Connection, session: str, project: str) -> None:
    row = connection.execute(
        "UPDATE sessions SET project = ? WHERE id = ? RETURNING tenant", (project, session)
    ).fetchone()
    if row is not None:
        usage.note(connection, row["tenant"], "project_session_set", {"project_id": project, "session_id": session})


def moments(connection: Connection, session: str) -> list[Moment]:
    rows = connection.execute(
        "SELECT ops.run, seq, kind, state, ops.created_at, done_at, tokens FROM runs JOIN ops ON ops.run = runs.id"
        " WHERE runs.session = ? ORDER BY runs.created_at, ops.run, seq",
        (session,),
    )
    return [
        Moment(row["run"], row["seq"], row["kind"], row["state"], row["created_at"], row["done_at"], row["tokens"])
        for row in rows
    ]


def count_open(connection: Connection) -> int:
    return connection.execute("SELECT count(*) FROM sessions WHERE finished IS NULL").fetchone()[0]


_SELECT = (
    "SELECT id, tenant, metadata, display_name, project, created_at, finished, detail,"
    " (SELECT count(*) FROM checkpoints JOIN runs ON runs.id = checkpoints.run WHERE runs.session = sessions.id)"
    " AS checkpoints,"
    " (SELECT coalesce(sum(size_bytes), 0) FROM checkpoints JOIN runs ON runs.id = checkpoints.run"
    " WHERE runs.session = sessions.id) AS bytes FROM sessions"
)


def _info(row: Row) -> SessionInfo:
    return SessionInfo(
        row["id"],
        row["tenant"],
        msgspec.json.decode(row["metadata"], type=dict[str, str]),
        row["display_name"],
        row["project"],
        row["created_at"],
        row["finished"],
        row["detail"],
        row["checkpoints"],
        int(row["bytes"]),
    )


def _fits(info: SessionInfo, wanted: Wanted) -> bool:
    named = wanted.id is None and not wanted.words
    named = named or info.id == wanted.id
    name = (info.display_name or "").casefold()
    named = named or bool(wanted.words and all(word.casefold() in name for word in wanted.words))
    placed = wanted.projects is None or info.project in wanted.projects
    wished = wanted.states is None or any(
        state == info.state and (reasons is None or info.finished in reasons) for state, reasons in wanted.states
    )
    return named and placed and wished and dict(wanted.metadata).items() <= info.metadata.items()
