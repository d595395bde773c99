"""API keys at rest: only their SHA-256, with whose they are."""

import sqlite3
import time
from dataclasses import dataclass

from anubhav.types.models import Principal


@dataclass(frozen=True, slots=True)
class KeyRow:
    id: str
    tenant: str
    operator: bool
    note: str
    created_at: float
    revoked_at: float | None


def add_key(connection: sqlite3.Connection, *, digest: str, principal: Principal, note: str) -> None:
    """A key that is there already is left as it is."""
    connection.execute(
        "INSERT OR IGNORE INTO keys (id, hash, tenant, operator, note, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (principal.key_id, digest, principal.tenant, int(principal.operator), note, time.time()),
    )


def find_key(connection: sqlite3.Connection, digest: str) -> Principal | None:
    """A revoked key is not found."""
    row = connection.execute(
        "SELECT id, tenant, operator FROM keys WHERE hash = ? AND revoked_at IS NULL", (digest,)
    ).fetchone()
    return Principal(row["tenant"], row["id"], bool(row["operator"])) if row else None


def find_holder(connection: sqlite3.Connection, key_id: str) -> Principal | None:
    """Like find_key, by the key's id."""
    row = connection.execute(
        "SELECT id, tenant, operator FROM keys WHERE id = ? AND revoked_at IS NULL", (key_id,)
    ).fetchone()
    return Principal(row["tenant"], row["id"], bool(row["operator"])) if row else None


def find_note(connection: sqlite3.Connection, key_id: str) -> str:
    row = connection.execute("SELECT note FROM keys WHERE id = ?", (key_id,)).fetchone()
    return row["note"] if row else ""


def list_keys(connection: sqlite3.Connection) -> list[KeyRow]:
    """Of all tenants, oldest first, those that were revoked too."""
    rows = connection.execute("SELECT id, tenant, operator, note, created_at, revoked_at FROM keys ORDER BY created_at")
    return [
        KeyRow(row["id"], row["tenant"], bool(row["operator"]), row["note"], row["created_at"], row["revoked_at"])
        for row in rows
    ]


def revoke_key(connection: sqlite3.Connection, key_id: str) -> bool:
    """False, and nothing done, when it is the last operator's key."""
    done = connection.execute(
        "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL AND (operator = 0 OR EXISTS"
        " (SELECT 1 FROM keys AS others WHERE others.operator = 1 AND others.revoked_at IS NULL AND others.id != ?))",
        (time.time(), key_id, key_id),
    )
    return done.rowcount == 1
