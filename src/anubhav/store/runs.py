"""Rows of training: sessions, runs, the journal of operations, and snapshots. No rule lives here."""

import time
from dataclasses import dataclass

import msgspec

from anubhav.store.connection import Connection, Row
from anubhav.types.ids import RunId
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
    source: str | None = None
    """Of a run that only holds a copy, an import or a blend: the path it was copied from, or which of the two it is."""


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
    connection: Connection,
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


def find_session(connection: Connection, session: str) -> SessionRow | None:
    row = connection.execute("SELECT tenant, finished FROM sessions WHERE id = ?", (session,)).fetchone()
    return SessionRow(row["tenant"], row["finished"]) if row else None


def describe_session(connection: Connection, session: str, project: str | None, display_name: str | None) -> None:
    """How it is shown to its owner; what is None stays."""
    connection.execute(
        "UPDATE sessions SET project = coalesce(?, project), display_name = coalesce(?, display_name) WHERE id = ?",
        (project, display_name, session),
    )


def finish_session(connection: Connection, session: str, reason: str, detail: str | None = None) -> list[str]:
    """Keep the first reason given; returns the runs that are still open."""
    connection.execute(
        "UPDATE sessions SET finished = ?, detail = ? WHERE id = ? AND finished IS NULL", (reason, detail, session)
    )
    rows = connection.execute("SELECT id FROM runs WHERE session = ? AND ended = 0", (session,))
    return [row["id"] for row in rows]


def add_run(connection: Connection, run: RunRow, *, copied_as: str | None = None) -> None:
    """`copied_as`: the idempotency key of a copy."""
    connection.execute(
        "INSERT INTO runs (id, session, tenant, base_model, spec, metadata, created_at, used_at, source, copied_as)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            run.id, run.session, run.tenant, run.base_model, _json(run.spec), _json(run.metadata), run.created_at,
            run.used_at, run.source, copied_as,
        ),
    )  # fmt: skip


def find_run(connection: Connection, run: str) -> RunRow | None:
    row = connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
    return _run(row) if row else None


def find_copy(connection: Connection, key: str | None, run: str) -> RunRow | None:
    """The copy made under this idempotency key, or else whatever run has this id."""
    query = "SELECT * FROM runs WHERE copied_as = ? OR id = ? ORDER BY copied_as IS NULL"
    row = connection.execute(query, (key, run)).fetchone()
    return _run(row) if row else None


def list_runs(connection: Connection, tenant: str, project: str | None = None) -> list[RunRow]:
    """Newest first; of one project when it is given."""
    rows = connection.execute(
        "SELECT * FROM runs WHERE tenant = ? AND (? IS NULL OR session IN (SELECT id FROM sessions WHERE project = ?))"
        " ORDER BY created_at DESC",
        (tenant, project, project),
    )
    return [_run(row) for row in rows]


def waiting_runs(connection: Connection) -> list[RunRow]:
    """Runs with operations that were acknowledged and not applied."""
    rows = connection.execute(
        "SELECT * FROM runs WHERE ended = 0 AND id IN"
        " (SELECT run FROM ops WHERE state = 'pending' AND kind != 'Void') ORDER BY created_at"
    )
    return [_run(row) for row in rows]


def end_run(connection: Connection, run: str, result: bytes) -> list[str]:
    """Close the run and settle what was not applied as failed with `result`; returns the promises settled so."""
    connection.execute("UPDATE runs SET ended = 1 WHERE id = ?", (run,))
    rows = connection.execute(
        "UPDATE ops SET state = 'failed', result = ?, done_at = ?"
        " WHERE run = ? AND state = 'pending' RETURNING promise",
        (result, time.time(), run),
    )
    return [row["promise"] for row in rows.fetchall()]


def add_op(connection: Connection, op: OpRow) -> None:
    now = time.time()
    connection.execute(
        "INSERT INTO ops (run, seq, kind, body, digest, promise, state, created_at) VALUES (?,?,?,?,?,?,?,?)",
        (op.run, op.seq, op.kind, op.body, op.digest, op.promise, op.state, now),
    )
    connection.execute("UPDATE runs SET used_at = ? WHERE id = ?", (now, op.run))


def find_op(connection: Connection, run: str, seq: int) -> OpRow | None:
    row = connection.execute("SELECT * FROM ops WHERE run = ? AND seq = ?", (run, seq)).fetchone()
    return _op(row) if row else None


def place(connection: Connection, run: str, number: int | None) -> int:
    """The sequence number of what the client calls `number`: one more for each operation let in before it.

    None: behind everything received so far.
    """
    if number is None:
        query = "SELECT seq FROM ops WHERE run = ? ORDER BY seq DESC LIMIT 1"
        row = connection.execute(query, (run,)).fetchone()
        return row["seq"] + 1 if row else 0
    query = "SELECT count(*) AS before FROM inserts WHERE run = ? AND behind < ?"
    return number + connection.execute(query, (run, number)).fetchone()["before"]


def find_sent(connection: Connection, run: str, number: int | None, key: str | None) -> OpRow | None:
    """The operation with this number of the client's, or, without one, with this key."""
    if number is not None:
        return find_op(connection, run, place(connection, run, number))
    query = "SELECT ops.* FROM ops JOIN inserts USING (run, seq) WHERE run = ? AND key = ?"
    row = connection.execute(query, (run, key)).fetchone()
    return _op(row) if row else None


def let_in(connection: Connection, run: str, seq: int, key: str) -> None:
    """Say that the newest operation has no number of the client's, so that the next one does not take its place."""
    connection.execute(
        "INSERT INTO inserts (run, seq, behind, key) SELECT ?, ?, ? - 1 - count(*), ? FROM inserts WHERE run = ?",
        (run, seq, seq, key, run),
    )


def pin(connection: Connection, run: str, seq: int, folder: str) -> None:
    """Keep the folder for as long as this operation may have to be done again."""
    connection.execute("INSERT INTO pins (run, seq, folder) VALUES (?,?,?)", (run, seq, folder))


def unpin(connection: Connection, run: str, before: int | None = None) -> list[str]:
    """Let go of what the operations before that one, or all of the run's, held; returns the folders."""
    rows = connection.execute(
        "DELETE FROM pins WHERE run = ? AND (? IS NULL OR seq < ?) RETURNING folder", (run, before, before)
    )
    return [row["folder"] for row in rows.fetchall()]


def find_promise(connection: Connection, tenant: str, promise: str) -> OpRow | None:
    """The operation behind a promise, if the tenant's."""
    row = connection.execute(
        "SELECT ops.* FROM ops JOIN runs ON runs.id = ops.run WHERE promise = ? AND tenant = ?", (promise, tenant)
    ).fetchone()
    return _op(row) if row else None


def last_settled(connection: Connection, run: str) -> int:
    """The highest sequence number with a result, -1 before the first."""
    # Walks down from the newest; max() would read every row of the run.
    query = "SELECT seq FROM ops WHERE run = ? AND state != 'pending' ORDER BY seq DESC LIMIT 1"
    row = connection.execute(query, (run,)).fetchone()
    return row["seq"] if row else -1


def count_between(connection: Connection, run: str, low: int, high: int) -> int:
    """How many operations of the run have numbers above `low` and below `high`."""
    query = "SELECT count(*) AS found FROM ops WHERE run = ? AND seq > ? AND seq < ?"
    return connection.execute(query, (run, low, high)).fetchone()["found"]


def comes_before(connection: Connection, run: str, seq: int) -> bool:
    """Whether an operation of the run waits behind this number."""
    query = "SELECT 1 FROM ops WHERE run = ? AND seq > ? AND state = 'pending' LIMIT 1"
    return connection.execute(query, (run, seq)).fetchone() is not None


def replace_op(connection: Connection, op: OpRow) -> None:
    """Let `op` take the place of what was refused there."""
    connection.execute(
        "UPDATE ops SET kind = ?, body = ?, digest = ?, promise = ?, created_at = ?"
        " WHERE run = ? AND seq = ? AND state = 'pending'",
        (op.kind, op.body, op.digest, op.promise, time.time(), op.run, op.seq),
    )


def ops_from(connection: Connection, run: str, seq: int) -> list[OpRow]:
    """The operations of a run from `seq` on, in order."""
    rows = connection.execute("SELECT * FROM ops WHERE run = ? AND seq >= ? ORDER BY seq", (run, seq))
    return [_op(row) for row in rows]


def settle_op(connection: Connection, run: str, seq: int, state: str, result: bytes) -> None:
    """Store a result once; a result that stands is never changed."""
    connection.execute(
        "UPDATE ops SET state = ?, result = ?, done_at = ? WHERE run = ? AND seq = ? AND state = 'pending'",
        (state, result, time.time(), run, seq),
    )


def add_snapshot(connection: Connection, row: SnapshotRow) -> None:
    connection.execute(
        "INSERT INTO snapshots (run, seq, folder, manifest, created_at) VALUES (?,?,?,?,?)"
        " ON CONFLICT (run, seq) DO UPDATE SET folder = excluded.folder, manifest = excluded.manifest,"
        " created_at = excluded.created_at",
        (row.run, row.seq, row.folder, _json(row.manifest), time.time()),
    )


def snapshots(connection: Connection, run: str) -> list[SnapshotRow]:
    """Newest first."""
    rows = connection.execute("SELECT * FROM snapshots WHERE run = ? ORDER BY seq DESC", (run,))
    return [
        SnapshotRow(RunId(r["run"]), r["seq"], r["folder"], msgspec.json.decode(r["manifest"], type=dict[str, str]))
        for r in rows
    ]


def drop_snapshot(connection: Connection, run: str, seq: int) -> None:
    connection.execute("DELETE FROM snapshots WHERE run = ? AND seq = ?", (run, seq))


def empty_bodies(connection: Connection, run: str, before: int) -> None:
    """Free the space of operations that no snapshot kept will ever replay."""
    connection.execute("UPDATE ops SET body = ? WHERE run = ? AND seq < ? AND seq > 0", (b"", run, before))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _run(row: Row) -> RunRow:
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
        row["source"],
    )


def _op(row: Row) -> OpRow:
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
