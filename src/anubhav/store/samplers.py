"""Rows of Tinker's sampling sessions."""

import time
from dataclasses import dataclass

from anubhav.store.connection import Connection


@dataclass(frozen=True, slots=True)
class SamplerRow:
    id: str
    session: str
    tenant: str
    base_model: str
    path: str | None
    inflight: str | None = None
    """The run whose newest inflight weights this session samples from, whichever save opened it."""


def add(connection: Connection, row: SamplerRow) -> bool:
    """Insert once. False when the session does not exist, is another tenant's, or was finished."""
    owner = connection.execute(
        "SELECT tenant FROM sessions WHERE id = ? AND finished IS NULL", (row.session,)
    ).fetchone()
    if owner is None or owner["tenant"] != row.tenant:
        return False
    connection.execute(
        "INSERT INTO samplers (id, session, tenant, base_model, path, inflight, created_at) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (id) DO NOTHING",
        (row.id, row.session, row.tenant, row.base_model, row.path, row.inflight, time.time()),
    )
    return True


def find(connection: Connection, sampler: str) -> SamplerRow | None:
    """Of an inflight session, with the path of its run's newest inflight save."""
    row = connection.execute("SELECT * FROM samplers WHERE id = ?", (sampler,)).fetchone()
    if row is None:
        return None
    path = row["path"]
    if row["inflight"]:
        # Saves of a run are committed in its order, and so their rows are numbered.
        newest = "SELECT path FROM samplers WHERE inflight = ? ORDER BY rowid DESC LIMIT 1"
        path = connection.execute(newest, (row["inflight"],)).fetchone()["path"]
    return SamplerRow(row["id"], row["session"], row["tenant"], row["base_model"], path, row["inflight"])


def join(connection: Connection, sampler: str) -> int:
    """A number for one more client of a sampling session that exists: 1, 2, 3 …; its first client is 0."""
    counted = connection.execute("UPDATE samplers SET clones = clones + 1 WHERE id = ? RETURNING clones", (sampler,))
    return counted.fetchone()["clones"]
