"""Rows of checkpoints: saved, found, shared, given a time to live, copied, removed. Each of these leaves its trace in
`storage` (how long which bytes lay here) and `audit` (who did what), in the same transaction.

A row whose `expires_at` has passed does not exist for anybody, swept or not, unless an alias answers with it.
"""

import time

import msgspec

from anubhav.store import usage
from anubhav.store.connection import Connection, Row
from anubhav.types.checkpoints import Checkpoint, TinkerPath, parse_path
from anubhav.types.ids import AdapterId
from anubhav.types.training import LoraSpec

_LIVE = "(SELECT releases.path FROM live JOIN releases ON releases.id = live.release WHERE releases.path IS NOT NULL)"
THERE = f"(expires_at IS NULL OR expires_at > ? OR path IN {_LIVE})"


def add(connection: Connection, row: Checkpoint, manifest: dict[str, str]) -> None:
    """Insert it, in place of one that had the name."""
    usage.end_storage(connection, str(row.path), time.time())
    connection.execute("DELETE FROM checkpoints WHERE path = ?", (str(row.path),))  # the new one is the last saved
    connection.execute(
        "INSERT INTO checkpoints (path, run, kind, name, tenant, base_model, spec, adapter, folder,"
        " manifest, has_optimizer, size_bytes, public, created_at, expires_at, metadata)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            str(row.path), row.path.run, row.path.kind, row.path.name, row.tenant, row.base_model, _json(row.spec),
            row.adapter, row.folder, _json(manifest), row.has_optimizer, row.size_bytes, row.public, row.created_at,
            row.expires_at, None if row.metadata is None else _json(row.metadata),
        ),
    )  # fmt: skip
    usage.begin_storage(connection, row)
    usage.note(connection, row.tenant, "checkpoint_create", _about(row.path) | {"size_bytes": row.size_bytes})


def find(connection: Connection, path: str) -> tuple[Checkpoint, dict[str, str]] | None:
    query = f"SELECT * FROM checkpoints WHERE path = ? AND {THERE}"
    row = connection.execute(query, (path, time.time())).fetchone()
    return (read_checkpoint(row), msgspec.json.decode(row["manifest"], type=dict[str, str])) if row else None


def list_of(connection: Connection, tenant: str, run: str | None) -> list[Checkpoint]:
    """Oldest first."""
    rows = connection.execute(
        f"SELECT * FROM checkpoints WHERE tenant = ? AND run = coalesce(?, run) AND {THERE} ORDER BY created_at",
        (tenant, run, time.time()),
    )
    return [read_checkpoint(row) for row in rows]


def drop(connection: Connection, path: str) -> bool:
    """False, with nothing done, while an alias answers with it."""
    if connection.execute(f"SELECT 1 WHERE ? IN {_LIVE}", (path,)).fetchone():
        return False
    _remove(connection, path, "checkpoint_delete", time.time())
    return True


def expire(connection: Connection) -> list[str]:
    """Remove every row whose time has passed; returns the folders they named."""
    rows = connection.execute(
        f"SELECT path, folder, expires_at FROM checkpoints WHERE expires_at <= ? AND path NOT IN {_LIVE}",
        (time.time(),),
    ).fetchall()
    for row in rows:
        _remove(connection, row["path"], "checkpoint_expire", row["expires_at"])
    return [row["folder"] for row in rows]


def _remove(connection: Connection, path: str, event: str, at: float) -> None:
    row = connection.execute("DELETE FROM checkpoints WHERE path = ? RETURNING tenant", (path,)).fetchone()
    if row is not None:
        usage.end_storage(connection, path, at)
        usage.note(connection, row["tenant"], event, _about(parse_path(path)))


def set_expiry(connection: Connection, path: str, expires_at: float | None) -> None:
    """None: never."""
    row = connection.execute(
        "UPDATE checkpoints SET expires_at = ? WHERE path = ? RETURNING tenant", (expires_at, path)
    ).fetchone()
    if row is not None:
        about = _about(parse_path(path)) | {"expires_at": expires_at}
        usage.note(connection, row["tenant"], "checkpoint_ttl_set", about)


def set_public(connection: Connection, path: str, *, public: bool) -> None:
    """Leaves its trace only when that changes something."""
    row = connection.execute(
        "UPDATE checkpoints SET public = ? WHERE path = ? AND public <> ? RETURNING tenant", (public, path, public)
    ).fetchone()
    if row is not None:
        event = "checkpoint_publish" if public else "checkpoint_unpublish"
        usage.note(connection, row["tenant"], event, _about(parse_path(path)))


def folders(connection: Connection) -> set[str]:
    """Every folder a checkpoint or a snapshot names, or an operation may still have to read again."""
    query = "SELECT folder FROM checkpoints UNION SELECT folder FROM snapshots UNION SELECT folder FROM pins"
    rows = connection.execute(query)
    return {row["folder"] for row in rows}


def named(connection: Connection, folder: str) -> bool:
    """A copy shares its source's folder, so that it stays as long as either; pins hold it too."""
    query = "SELECT 1 FROM checkpoints WHERE folder = ? UNION ALL SELECT 1 FROM pins WHERE folder = ?"
    return connection.execute(query, (folder, folder)).fetchone() is not None


def _about(path: TinkerPath) -> dict[str, object]:
    return {"tinker_path": str(path), "model_id": path.run}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def read_checkpoint(row: Row) -> Checkpoint:
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
        row["expires_at"],
        None if row["metadata"] is None else msgspec.json.decode(row["metadata"], type=dict[str, str]),
    )
