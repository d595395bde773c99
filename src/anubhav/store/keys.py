"""API keys at rest: only their SHA-256, with whose they are."""

import time
from dataclasses import dataclass

from anubhav.store.connection import Connection, Row
from anubhav.types.models import SCOPES, Principal, Scope


@dataclass(frozen=True, slots=True)
class KeyRow:
    seq: int
    """Sent as `before`, it gives those that were made earlier."""
    id: str
    tenant: str
    operator: bool
    scopes: tuple[Scope, ...]
    note: str
    created_at: float
    revoked_at: float | None


def add_key(connection: Connection, *, digest: str, principal: Principal, note: str) -> bool:
    """False, and nothing done, when the key is there already."""
    done = connection.execute(
        "INSERT INTO keys (id, hash, tenant, operator, note, created_at, scopes) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT DO NOTHING",
        (
            principal.key_id, digest, principal.tenant, int(principal.operator), note, time.time(),
            None if principal.scopes == SCOPES else " ".join(sorted(principal.scopes)),
        ),
    )  # fmt: skip
    return done.rowcount == 1


def find_key(connection: Connection, digest: str) -> Principal | None:
    """A revoked key is not found."""
    row = connection.execute(
        "SELECT id, tenant, operator, scopes FROM keys WHERE hash = ? AND revoked_at IS NULL", (digest,)
    ).fetchone()
    return _principal(row) if row else None


def find_holder(connection: Connection, key_id: str) -> Principal | None:
    """Like find_key, by the key's id."""
    row = connection.execute(
        "SELECT id, tenant, operator, scopes FROM keys WHERE id = ? AND revoked_at IS NULL", (key_id,)
    ).fetchone()
    return _principal(row) if row else None


def find_note(connection: Connection, key_id: str) -> str:
    row = connection.execute("SELECT note FROM keys WHERE id = ?", (key_id,)).fetchone()
    return row["note"] if row else ""


def list_keys(connection: Connection, before: int | None, limit: int) -> list[KeyRow]:
    """Of all tenants, made last first, those that were revoked too."""
    query = "SELECT rowid AS seq, * FROM keys WHERE rowid < ? ORDER BY rowid DESC LIMIT ?"
    return [_row(row) for row in connection.execute(query, (before or 1 << 62, limit))]


def find_row(connection: Connection, key_id: str) -> KeyRow | None:
    """Whether it was revoked or not."""
    row = connection.execute("SELECT rowid AS seq, * FROM keys WHERE id = ?", (key_id,)).fetchone()
    return _row(row) if row else None


def revoke_key(connection: Connection, key_id: str) -> bool:
    """False, and nothing done, when it is the last operator's key."""
    done = connection.execute(
        "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL AND (operator = 0 OR EXISTS"
        " (SELECT 1 FROM keys AS others WHERE others.operator = 1 AND others.revoked_at IS NULL AND others.id != ?))",
        (time.time(), key_id, key_id),
    )
    return done.rowcount == 1


def _row(row: Row) -> KeyRow:
    return KeyRow(
        row["seq"], row["id"], row["tenant"], bool(row["operator"]), tuple(sorted(_scopes(row))), row["note"],
        row["created_at"], row["revoked_at"],
    )  # fmt: skip


def _principal(row: Row) -> Principal:
    return Principal(row["tenant"], row["id"], bool(row["operator"]), _scopes(row))


def _scopes(row: Row) -> frozenset[Scope]:
    """None, as every key of before there were scopes has it: all. A name this version does not know counts for none."""
    if row["scopes"] is None:
        return SCOPES
    named = set(row["scopes"].split())
    return frozenset(scope for scope in SCOPES if scope in named)
