"""Rows as people look at them: a page at a time, newest first, at a cost that does not grow with what lies behind."""

from dataclasses import dataclass, replace

import msgspec

from anubhav.store import experience
from anubhav.store.connection import Connection, Row
from anubhav.types.experience import Episode, Feedback
from anubhav.types.looking import Activity, Conversation, Hold, RunHead
from anubhav.types.training import LoraSpec

_LOOKED_AT = 5000
"""Judgements of a day that are read for its figures."""
_NEWEST = """
SELECT seq, tenant, session, user, alias, body FROM episodes AS one WHERE seq < ? AND tenant = coalesce(?, tenant)
    AND arm <> 'shadow' AND NOT EXISTS (SELECT 1 FROM episodes AS later WHERE later.tenant = one.tenant
        AND later.session = one.session AND later.seq > one.seq AND later.arm <> 'shadow')
ORDER BY seq DESC LIMIT ?
"""
_SPAN = """
SELECT count(*) AS replies, min(created_at) AS began_at, coalesce(sum((SELECT count(*) FROM feedback
    WHERE feedback.episode = episodes.id)), 0) AS judgements
FROM episodes WHERE tenant = ? AND session = ? AND arm <> 'shadow'
"""
_OP = "seq, kind, state, created_at, done_at, tokens, result"
_TOLD = "kind NOT IN ('Compute', 'Step', 'Distil') OR state = 'failed'"
"""As the index of events has it."""


@dataclass(frozen=True, slots=True)
class OpGlance:
    seq: int
    kind: str
    state: str
    created_at: float
    done_at: float | None
    tokens: int | None
    result: bytes | None


def conversations(connection: Connection, tenant: str | None, before: int | None, limit: int) -> list[Conversation]:
    """Those spoken in last first; every tenant's when `tenant` is None."""
    rows = connection.execute(_NEWEST, (before or 1 << 62, tenant, limit)).fetchall()
    return [_conversation(connection, row) for row in rows]


def turns(
    connection: Connection, tenant: str, session: str, after: int, limit: int
) -> list[tuple[Episode, list[Feedback]]]:
    """Of a session, oldest first, each with its judgements."""
    rows = connection.execute(
        "SELECT seq, body FROM episodes WHERE tenant = ? AND session = ? AND seq > ? AND arm <> 'shadow'"
        " ORDER BY seq LIMIT ?",
        (tenant, session, after, limit),
    ).fetchall()
    return [(one, experience.feedback_of(connection, one.id)) for one in map(_episode, rows)]


def turn(connection: Connection, tenant: str | None, name: str) -> tuple[Episode, list[Feedback]] | None:
    query = "SELECT seq, body FROM episodes WHERE id = ? AND tenant = coalesce(?, tenant)"
    row = connection.execute(query, (name, tenant)).fetchone()
    return (_episode(row), experience.feedback_of(connection, name)) if row else None


def begun(connection: Connection) -> tuple[bool, bool, bool]:
    """Whether anybody ever asked anything, and judged anything, and whether others than operators have a key."""
    tables = ("episodes", "feedback", "keys WHERE operator = 0 AND revoked_at IS NULL")
    asked, judged, shared = (connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in tables)
    return asked is not None, judged is not None, shared is not None


def activity(connection: Connection, since: float) -> Activity:
    (requests,) = connection.execute(
        "SELECT count(*) FROM episodes INDEXED BY episodes_by_time WHERE created_at >= ?", (since,)
    ).fetchone()
    rows = connection.execute(
        "SELECT seq, body FROM feedback WHERE created_at >= ? ORDER BY created_at DESC LIMIT ?", (since, _LOOKED_AT)
    ).fetchall()
    said = [one for one in map(_feedback, rows) if one.source == "person"]
    marks = [one.value for one in said if one.kind in ("thumb", "rating", "outcome") and one.value is not None]
    return Activity(
        since, requests, len(said), sum(mark > 0.5 for mark in marks), sum(mark < 0.5 for mark in marks),
        sum(one.kind == "correction" for one in said), sum(one.kind == "comparison" for one in said),
        len(rows) < _LOOKED_AT,
    )  # fmt: skip


def heads(connection: Connection, tenant: str | None, before: int | None, limit: int) -> list[RunHead]:
    """Newest first."""
    rows = connection.execute(
        "SELECT rowid AS position, * FROM runs WHERE rowid < ? AND tenant = coalesce(?, tenant)"
        " ORDER BY rowid DESC LIMIT ?",
        (before or 1 << 62, tenant, limit),
    )
    return [_head(row) for row in rows]


def head(connection: Connection, tenant: str | None, run: str) -> RunHead | None:
    query = "SELECT rowid AS position, * FROM runs WHERE id = ? AND tenant = coalesce(?, tenant)"
    row = connection.execute(query, (run, tenant)).fetchone()
    return _head(row) if row else None


def ops(connection: Connection, run: str, after: int | None, limit: int) -> list[OpGlance]:
    """In their order, behind `after`; the last ones when it is None."""
    where, given = (
        ("seq > ? ORDER BY seq", (run, after, limit)) if after is not None else ("TRUE ORDER BY seq DESC", (run, limit))
    )
    rows = connection.execute(f"SELECT {_OP} FROM ops WHERE run = ? AND {where} LIMIT ?", given).fetchall()
    found = [OpGlance(*row) for row in rows]
    return found if after is not None else found[::-1]


def events(connection: Connection, run: str, limit: int) -> list[OpGlance]:
    """All but passes and steps that were done, newest first."""
    rows = connection.execute(
        f"SELECT {_OP} FROM ops INDEXED BY ops_told WHERE run = ? AND ({_TOLD}) ORDER BY seq DESC LIMIT ?", (run, limit)
    )
    return [OpGlance(*row) for row in rows]


def hold(connection: Connection, what: str) -> Hold | None:
    row = connection.execute("SELECT who, why, created_at FROM holds WHERE what = ?", (what,)).fetchone()
    return Hold(row["who"], row["why"], row["created_at"]) if row else None


def put_hold(connection: Connection, what: str, one: Hold | None) -> None:
    """The first one stands until it is taken away with None."""
    if one is None:
        connection.execute("DELETE FROM holds WHERE what = ?", (what,))
    else:
        connection.execute(
            "INSERT INTO holds VALUES (?,?,?,?) ON CONFLICT DO NOTHING", (what, one.who, one.why, one.created_at)
        )


def _conversation(connection: Connection, row: Row) -> Conversation:
    last = _episode(row)
    if last.session is None:
        replies, began_at, judgements = 1, last.created_at, len(experience.feedback_of(connection, last.id))
    else:
        span = connection.execute(_SPAN, (last.tenant, last.session)).fetchone()
        replies, began_at, judgements = span["replies"], span["began_at"], span["judgements"]
    asked = next((one.content for one in reversed(last.messages) if one.role == "user"), "")
    return Conversation(
        last.session, last.tenant, last.user, last.alias, last.id, asked, replies, judgements, began_at,
        last.created_at, last.seq,
    )  # fmt: skip


def _episode(row: Row) -> Episode:
    return replace(msgspec.msgpack.decode(row["body"], type=Episode), seq=row["seq"])


def _feedback(row: Row) -> Feedback:
    return replace(msgspec.msgpack.decode(row["body"], type=Feedback), seq=row["seq"])


def _head(row: Row) -> RunHead:
    spec = msgspec.json.decode(row["spec"], type=LoraSpec)
    metadata = msgspec.json.decode(row["metadata"], type=dict[str, str])
    return RunHead(
        row["id"], row["tenant"], row["base_model"], spec.rank, spec.optimizer, metadata, row["created_at"],
        row["used_at"], bool(row["ended"]), row["position"],
    )  # fmt: skip
