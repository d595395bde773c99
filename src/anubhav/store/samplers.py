"""Rows of Tinker's sampling sessions."""

import sqlite3
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplerRow:
    id: str
    session: str
    tenant: str
    base_model: str
    path: str | None


def add(connection: sqlite3.Connection, row: SamplerRow) -> bool:
    """Insert once. False when the session does not exist, is another tenant's, or was finished."""
    owner = connection.execute(
        "SELECT tenant FROM sessions WHERE id = ? AND finished IS NULL", (row.session,)
    ).fetchone()
    if owner is None or owner["tenant"] != row.tenant:
        return False
    connection.execute(
        "INSERT INTO samplers (id, session, tenant, base_model, path, created_at) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT (id) DO NOTHING",
        (row.id, row.session, row.tenant, row.base_model, row.path, time.time()),
    )
    return True


def find(connection: sqlite3.Connection, sampler: str) -> SamplerRow | None:
    row = connection.execute("SELECT * FROM samplers WHERE id = ?", (sampler,)).fetchone()
    return SamplerRow(row["id"], row["session"], row["tenant"], row["base_model"], row["path"]) if row else None
