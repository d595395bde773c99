"""API keys at rest: only their SHA-256, with whose they are."""

import sqlite3
import time

from anubhav.types.models import Principal


def add_key(connection: sqlite3.Connection, *, digest: str, principal: Principal, note: str) -> None:
    """A key that is there already is left as it is."""
    connection.execute(
        "INSERT OR IGNORE INTO keys (id, hash, tenant, operator, note, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (principal.key_id, digest, principal.tenant, int(principal.operator), note, time.time()),
    )


def find_key(connection: sqlite3.Connection, digest: str) -> Principal | None:
    row = connection.execute(
        "SELECT id, tenant, operator FROM keys WHERE hash = ? AND revoked_at IS NULL", (digest,)
    ).fetchone()
    return Principal(row["tenant"], row["id"], bool(row["operator"])) if row else None
