"""Rows of what was used and done: tokens of each pass, how long bytes lay here, and the audit of who did what."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from anubhav.store import quotas
from anubhav.store.connection import Connection, Row
from anubhav.types.checkpoints import Checkpoint

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Counted:
    """A number (tokens, checkpoints) of one hour, session and base model."""

    hour: int
    """Seconds since the epoch at its beginning."""
    session: str
    project: str | None
    base_model: str
    count: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The time some bytes lay here."""

    base_model: str
    size_bytes: int
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class Shelf:
    """What lies here now for one project."""

    project: str | None
    checkpoints: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AuditRow:
    event: str
    details: dict[str, object]
    at: float


@dataclass(frozen=True, slots=True)
class LogRow:
    """A line of the audit as it is looked at."""

    seq: int
    """Sent as `before`, it gives those that are older."""
    tenant: str
    event: str
    details: dict[str, object]
    at: float


def count_tokens(connection: Connection, run: str, seq: int, tokens: int) -> None:
    """Of a pass, to be called with its settling: its body is not kept for ever."""
    connection.execute("UPDATE ops SET tokens = ? WHERE run = ? AND seq = ?", (tokens, run, seq))
    row = connection.execute("SELECT tenant FROM runs WHERE id = ?", (run,)).fetchone()
    quotas.spend(connection, row["tenant"], tokens)


def begin_storage(connection: Connection, row: Checkpoint) -> None:
    connection.execute(
        "INSERT INTO storage (path, run, tenant, base_model, size_bytes, since) VALUES (?,?,?,?,?,?)",
        (str(row.path), row.path.run, row.tenant, row.base_model, row.size_bytes, row.created_at),
    )


def end_storage(connection: Connection, path: str, at: float) -> None:
    connection.execute("UPDATE storage SET until = ? WHERE path = ? AND until IS NULL", (at, path))


def note(connection: Connection, tenant: str, event: str, details: Mapping[str, object]) -> None:
    """Keep that `event` (`<resource>_<action>`) happened."""
    connection.execute(
        "INSERT INTO audit (tenant, event, details, created_at) VALUES (?,?,?,?)",
        (tenant, event, msgspec.json.encode(details).decode(), time.time()),
    )


def trained(connection: Connection, tenant: str, start: float, end: float) -> list[Counted]:
    """Tokens of passes that went well, by hour, session and base model."""
    rows = connection.execute(
        "SELECT CAST(ops.done_at / 3600 AS INTEGER) AS hour, runs.session, sessions.project, runs.base_model,"
        " sum(ops.tokens) AS count FROM runs JOIN ops ON ops.run = runs.id JOIN sessions ON sessions.id = runs.session"
        " WHERE runs.tenant = ? AND ops.state = 'done' AND ops.tokens > 0 AND ops.done_at >= ? AND ops.done_at < ?"
        " GROUP BY hour, runs.session, sessions.project, runs.base_model ORDER BY hour, count DESC",
        (tenant, start, end),
    )
    return [_counted(row) for row in rows]


def saved(connection: Connection, tenant: str, start: float, end: float) -> list[Counted]:
    """Checkpoints made, by hour, session and base model."""
    rows = connection.execute(
        "SELECT CAST(since / 3600 AS INTEGER) AS hour, runs.session, sessions.project, storage.base_model,"
        " count(*) AS count FROM storage JOIN runs ON runs.id = storage.run"
        " JOIN sessions ON sessions.id = runs.session"
        " WHERE storage.tenant = ? AND since >= ? AND since < ?"
        " GROUP BY hour, runs.session, sessions.project, storage.base_model ORDER BY hour",
        (tenant, start, end),
    )
    return [_counted(row) for row in rows]


def stored(connection: Connection, tenant: str, start: float, end: float) -> list[Stored]:
    """What lay here at some time between."""
    rows = connection.execute(
        "SELECT base_model, size_bytes, since, until FROM storage"
        " WHERE tenant = ? AND since < ? AND (until IS NULL OR until > ?) ORDER BY base_model",
        (tenant, end, start),
    )
    return [Stored(row["base_model"], row["size_bytes"], row["since"], row["until"]) for row in rows]


def saved_by_day(connection: Connection, tenant: str, start: float) -> list[tuple[int, str, int]]:
    """(day, base model, checkpoints made then)."""
    rows = connection.execute(
        "SELECT CAST(since / 86400 AS INTEGER) AS day, base_model, count(*) AS count FROM storage"
        " WHERE tenant = ? AND since >= ? GROUP BY day, base_model",
        (tenant, start),
    )
    return [(row["day"], row["base_model"], row["count"]) for row in rows]


def shelves(connection: Connection, tenant: str, project: str | None) -> list[Shelf]:
    """What lies here now, by project; of one project when it is given."""
    rows = connection.execute(
        "SELECT sessions.project, count(*) AS count, sum(storage.size_bytes) AS bytes FROM storage"
        " JOIN runs ON runs.id = storage.run JOIN sessions ON sessions.id = runs.session"
        " WHERE storage.tenant = ? AND until IS NULL AND (? IS NULL OR sessions.project = ?)"
        " GROUP BY sessions.project ORDER BY sessions.project NULLS FIRST",
        (tenant, project, project),
    )
    return [Shelf(row["project"], row["count"], row["bytes"]) for row in rows]


def audit(connection: Connection, tenant: str, resource: str, start: float, end: float) -> list[AuditRow]:
    """Oldest first; `resource` is the beginning of an event's name, empty for all."""
    rows = connection.execute(
        "SELECT event, details, created_at FROM audit WHERE tenant = ? AND substr(event, 1, length(?)) = ?"
        " AND created_at >= ? AND created_at < ? ORDER BY seq",
        (tenant, resource, resource, start, end),
    )
    return [
        AuditRow(row["event"], msgspec.json.decode(row["details"], type=dict[str, object]), row["created_at"])
        for row in rows
    ]


def log(connection: Connection, tenant: str | None, before: int | None, limit: int) -> list[LogRow]:
    """The audit, newest first; every tenant's when `tenant` is None."""
    rows = connection.execute(
        "SELECT * FROM audit WHERE seq < ? AND tenant = coalesce(?, tenant) ORDER BY seq DESC LIMIT ?",
        (before or 1 << 62, tenant, limit),
    )
    return [
        LogRow(
            row["seq"], row["tenant"], row["event"], msgspec.json.decode(row["details"], type=dict[str, object]),
            row["created_at"],
        )
        for row in rows
    ]  # fmt: skip


def _counted(row: Row) -> Counted:
    return Counted(row["hour"] * HOUR, row["session"], row["project"], row["base_model"], row["count"])
