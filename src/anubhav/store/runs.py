"""Rows of training: sessions, runs, the journal of operations, snapshots and checkpoints. No rule lives here."""

import sqlite3
import time
from dataclasses import dataclass

import msgspec

from anubhav.types.checkpoints import Checkpoint, parse_path
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.training import LoraSpec


@dataclass(frozen=True, slots=True)
class SessionRow:
    tenant: str
    finished: str | None
    """Why its client ended it; None while it is open."""


@dataclass(frozen=True, slots=True)
class RunRow:
    id: RunId
    session: str
    tenant: str
    base_model: str
    spec: LoraSpec
    metadata: dict[str, str]
    created_at: float
    used_at: float
    ended: bool = False


@dataclass(frozen=True, slots=True)
class OpRow:
    run: RunId
    seq: int
    kind: str
    body: bytes
    digest: str
    promise: str
    state: str
    """pending, done or failed."""
    result: bytes | None


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    run: RunId
    seq: int
    folder: str
    manifest: dict[str, str]


def add_session(
    connection: sqlite3.Connection,
    session: str,
    tenant: str,
    details: tuple[list[str], dict[str, str], str],
    key: str | None,
) -> str:
    """Insert the session unless its idempotency key was seen; returns the id that counts."""
    tags, metadata, sdk = details
    connection.execute(
        "INSERT INTO sessions (id, tenant, tags, metadata, sdk, created_at, idempotency) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (idempotency) DO NOTHING",
        (session, tenant, _json(tags), _json(metadata), sdk, time.time(), key),
    )
    if key is None:
        return session
    return connection.execute("SELECT id FROM sessions WHERE idempotency = ?", (key,)).fetchone()["id"]


def find_session(connection: sqlite3.Connection, session: str) -> SessionRow | None:
    row = connection.execute("SELECT tenant, finished FROM sessions WHERE id = ?", (session,)).fetchone()
    return SessionRow(row["tenant"], row["finished"]) if row else None


def finish_session(connection: sqlite3.Connection, session: str, reason: str) -> list[str]:
    """Keep the first reason given; returns the runs that are still open."""
    connection.execute("UPDATE sessions SET finished = ? WHERE id = ? AND finished IS NULL", (reason, session))
    rows = connection.execute("SELECT id FROM runs WHERE session = ? AND ended = 0", (session,))
    return [row["id"] for row in rows]


def add_run(connection: sqlite3.Connection, run: RunRow) -> None:
    connection.execute(
        "INSERT INTO runs (id, session, tenant, base_model, spec, metadata, created_at, used_at)"
        " VALUES (?,?,?,?,?,?,?,?)",
        (
            run.id, run.session, run.tenant, run.base_model, _json(run.spec), _json(run.metadata), run.created_at,
            run.used_at,
        ),
    )  # fmt: skip


def find_run(connection: sqlite3.Connection, run: str) -> RunRow | None:
    row = connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
    return _run(row) if row else None


def list_runs(connection: sqlite3.Connection, tenant: str) -> list[RunRow]:
    rows = connection.execute("SELECT * FROM runs WHERE tenant = ? ORDER BY created_at DESC", (tenant,))
    return [_run(row) for row in rows]


def waiting_runs(connection: sqlite3.Connection) -> list[RunRow]:
    """Runs with operations that were acknowledged and not applied."""
    rows = connection.execute(
        "SELECT * FROM runs WHERE ended = 0 AND id IN (SELECT run FROM ops WHERE state = 'pending') ORDER BY created_at"
    )
    return [_run(row) for row in rows]


def end_run(connection: sqlite3.Connection, run: str, result: bytes) -> list[str]:
    """Close the run and settle what was not applied as failed with `result`; returns the promises settled so."""
    connection.execute("UPDATE runs SET ended = 1 WHERE id = ?", (run,))
    rows = connection.execute(
        "UPDATE ops SET state = 'failed', result = ?, done_at = ?"
        " WHERE run = ? AND state = 'pending' RETURNING promise",
        (result, time.time(), run),
    )
    return [row["promise"] for row in rows.fetchall()]


def add_op(connection: sqlite3.Connection, op: OpRow) -> None:
    now = time.time()
    connection.execute(
        "INSERT INTO ops (run, seq, kind, body, digest, promise, state, created_at) VALUES (?,?,?,?,?,?,?,?)",
        (op.run, op.seq, op.kind, op.body, op.digest, op.promise, op.state, now),
    )
    connection.execute("UPDATE runs SET used_at = ? WHERE id = ?", (now, op.run))


def find_op(connection: sqlite3.Connection, run: str, seq: int) -> OpRow | None:
    row = connection.execute("SELECT * FROM ops WHERE run = ? AND seq = ?", (run, seq)).fetchone()
    return _op(row) if row else None


def find_promise(connection: sqlite3.Connection, tenant: str, promise: str) -> OpRow | None:
    """The operation behind a promise, if the tenant's."""
    row = connection.execute(
        "SELECT ops.* FROM ops JOIN runs ON runs.id = ops.run WHERE promise = ? AND tenant = ?", (promise, tenant)
    ).fetchone()
    return _op(row) if row else None


def last_settled(connection: sqlite3.Connection, run: str) -> int:
    """The highest sequence number with a result, -1 before the first."""
    # Walks down from the newest; max() would read every row of the run.
    query = "SELECT seq FROM ops WHERE run = ? AND state != 'pending' ORDER BY seq DESC LIMIT 1"
    row = connection.execute(query, (run,)).fetchone()
    return row["seq"] if row else -1


def ops_from(connection: sqlite3.Connection, run: str, seq: int) -> list[OpRow]:
    """The operations of a run from `seq` on, in order."""
    rows = connection.execute("SELECT * FROM ops WHERE run = ? AND seq >= ? ORDER BY seq", (run, seq))
    return [_op(row) for row in rows]


def settle_op(connection: sqlite3.Connection, run: str, seq: int, state: str, result: bytes) -> None:
    """Store a result once; a result that stands is never changed."""
    connection.execute(
        "UPDATE ops SET state = ?, result = ?, done_at = ? WHERE run = ? AND seq = ? AND state = 'pending'",
        (state, result, time.time(), run, seq),
    )


def add_snapshot(connection: sqlite3.Connection, row: SnapshotRow) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO snapshots (run, seq, folder, manifest, created_at) VALUES (?,?,?,?,?)",
        (row.run, row.seq, row.folder, _json(row.manifest), time.time()),
    )


def snapshots(connection: sqlite3.Connection, run: str) -> list[SnapshotRow]:
    """Newest first."""
    rows = connection.execute("SELECT * FROM snapshots WHERE run = ? ORDER BY seq DESC", (run,))
    return [
        SnapshotRow(RunId(r["run"]), r["seq"], r["folder"], msgspec.json.decode(r["manifest"], type=dict[str, str]))
        for r in rows
    ]


def drop_snapshot(connection: sqlite3.Connection, run: str, seq: int) -> None:
    connection.execute("DELETE FROM snapshots WHERE run = ? AND seq = ?", (run, seq))


def empty_bodies(connection: sqlite3.Connection, run: str, before: int) -> None:
    """Free the space of operations that no snapshot kept will ever replay."""
    connection.execute("UPDATE ops SET body = x'' WHERE run = ? AND seq < ? AND seq > 0", (run, before))


def add_checkpoint(connection: sqlite3.Connection, row: Checkpoint, manifest: dict[str, str]) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO checkpoints (path, run, kind, name, tenant, base_model, spec, adapter, folder,"
        " manifest, has_optimizer, size_bytes, public, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            str(row.path), row.path.run, row.path.kind, row.path.name, row.tenant, row.base_model, _json(row.spec),
            row.adapter, row.folder, _json(manifest), row.has_optimizer, row.size_bytes, row.public, row.created_at,
        ),
    )  # fmt: skip


def find_checkpoint(connection: sqlite3.Connection, path: str) -> tuple[Checkpoint, dict[str, str]] | None:
    row = connection.execute("SELECT * FROM checkpoints WHERE path = ?", (path,)).fetchone()
    return (_checkpoint(row), msgspec.json.decode(row["manifest"], type=dict[str, str])) if row else None


def list_checkpoints(connection: sqlite3.Connection, tenant: str, run: str | None) -> list[Checkpoint]:
    rows = connection.execute(
        "SELECT * FROM checkpoints WHERE tenant = ? AND run = coalesce(?, run) ORDER BY created_at", (tenant, run)
    )
    return [_checkpoint(row) for row in rows]


def drop_checkpoint(connection: sqlite3.Connection, path: str) -> bool:
    """False, with nothing done, while an alias answers with it."""
    live = "SELECT 1 FROM live JOIN releases ON releases.id = live.release WHERE releases.path = ?"
    if connection.execute(live, (path,)).fetchone():
        return False
    connection.execute("DELETE FROM checkpoints WHERE path = ?", (path,))
    return True


def folders(connection: sqlite3.Connection) -> set[str]:
    """Every folder a checkpoint or a snapshot names."""
    rows = connection.execute("SELECT folder FROM checkpoints UNION SELECT folder FROM snapshots")
    return {row["folder"] for row in rows}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _run(row: sqlite3.Row) -> RunRow:
    return RunRow(
        RunId(row["id"]),
        row["session"],
        row["tenant"],
        row["base_model"],
        msgspec.json.decode(row["spec"], type=LoraSpec),
        msgspec.json.decode(row["metadata"], type=dict[str, str]),
        row["created_at"],
        row["used_at"],
        bool(row["ended"]),
    )


def _op(row: sqlite3.Row) -> OpRow:
    return OpRow(
        RunId(row["run"]),
        row["seq"],
        row["kind"],
        row["body"],
        row["digest"],
        row["promise"],
        row["state"],
        row["result"],
    )


def _checkpoint(row: sqlite3.Row) -> Checkpoint:
    return Checkpoint(
        parse_path(row["path"]),
        row["tenant"],
        row["base_model"],
        msgspec.json.decode(row["spec"], type=LoraSpec),
        AdapterId(row["adapter"]),
        row["folder"],
        bool(row["has_optimizer"]),
        row["size_bytes"],
        row["created_at"],
        bool(row["public"]),
    )
