"""Rows of uploaded files. One whose `expires_at` has passed does not exist for anybody, swept or not."""

import time
from collections.abc import Sequence

from anubhav.store.connection import Connection, Row
from anubhav.types.tuning import ENDED, Upload

_THERE = "(expires_at IS NULL OR expires_at > ?)"
_ENDED = ", ".join(f"'{state}'" for state in sorted(ENDED))


def add(connection: Connection, row: Upload) -> None:
    """Unless one of this id is there."""
    connection.execute(
        "INSERT INTO uploads (id, tenant, name, purpose, digest, size_bytes, created_at, expires_at)"
        " VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
        (row.id, row.tenant, row.name, row.purpose, row.digest, row.size, row.created_at, row.expires_at),
    )


def find(connection: Connection, tenant: str, upload: str) -> Upload | None:
    query = f"SELECT * FROM uploads WHERE id = ? AND tenant = ? AND {_THERE}"
    row = connection.execute(query, (upload, tenant, time.time())).fetchone()
    return _upload(row) if row else None


def page(
    connection: Connection, tenant: str, purpose: str | None, after: str | None, limit: int, *, newest: bool
) -> Sequence[Upload]:
    """Those behind `after`, the newest or the oldest first."""
    sign, order = ("<", "DESC") if newest else (">", "ASC")
    rows = connection.execute(
        f"SELECT * FROM uploads WHERE tenant = ? AND purpose = coalesce(?, purpose) AND {_THERE}"
        f" AND (? IS NULL OR seq {sign} (SELECT seq FROM uploads WHERE id = ? AND tenant = ?))"
        f" ORDER BY seq {order} LIMIT ?",
        (tenant, purpose, time.time(), after, after, tenant, limit),
    )
    return [_upload(row) for row in rows]


def drop(connection: Connection, upload: str) -> None:
    connection.execute("DELETE FROM uploads WHERE id = ?", (upload,))


def expire(connection: Connection) -> list[str]:
    """Remove every row whose time has passed; returns the bytes they named."""
    rows = connection.execute("DELETE FROM uploads WHERE expires_at <= ? RETURNING digest", (time.time(),))
    return [row["digest"] for row in rows.fetchall()]


def named(connection: Connection) -> set[str]:
    """The bytes that a file or a job that has not ended needs."""
    rows = connection.execute(
        "SELECT digest FROM uploads UNION SELECT training FROM tuning_jobs WHERE state NOT IN"
        f" ({_ENDED}) UNION SELECT validation FROM tuning_jobs WHERE state NOT IN ({_ENDED})"
    )
    return {row["digest"] for row in rows if row["digest"]}


def _upload(row: Row) -> Upload:
    return Upload(
        row["id"], row["tenant"], row["name"], row["purpose"], row["digest"], row["size_bytes"], row["created_at"],
        row["expires_at"],
    )  # fmt: skip
