"""Rows of clients' own losses: one per number in a session, never changed."""

import time

from anubhav.store.connection import Connection


def add(connection: Connection, loss: str, session: str, tenant: str, body: bytes) -> bytes | None:
    """Insert once; returns the body that stands there. None when the session is not there, not theirs, or finished."""
    owner = connection.execute("SELECT tenant FROM sessions WHERE id = ? AND finished IS NULL", (session,)).fetchone()
    if owner is None or owner["tenant"] != tenant:
        return None
    connection.execute(
        "INSERT INTO losses (id, session, tenant, body, created_at) VALUES (?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
        (loss, session, tenant, body, time.time()),
    )
    return connection.execute("SELECT body FROM losses WHERE id = ?", (loss,)).fetchone()["body"]


def find(connection: Connection, tenant: str, loss: str) -> bytes | None:
    row = connection.execute("SELECT body FROM losses WHERE id = ? AND tenant = ?", (loss, tenant)).fetchone()
    return row["body"] if row else None
