"""Sampled sequences that training may refer to by id: their tokens and what these were drawn with.

A sequence is kept for a day after its last use, and the oldest go when there are very many.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.store.connection import Connection

_KEPT_SECONDS = 86_400.0
_KEPT = 1 << 20


@dataclass(frozen=True, slots=True)
class SequenceRow:
    id: str
    tokens: bytes
    """int32, little-endian."""
    logprobs: bytes
    """float32, little-endian."""
    routes: bytes | None = None
    """Which experts its tokens and its prompt's went to, as `serving.recall` packs it."""


def add(connection: Connection, tenant: str, rows: Sequence[SequenceRow]) -> None:
    """Also forgets what has had its time."""
    now = time.time()
    connection.executemany(
        "INSERT INTO sequences (id, tenant, tokens, logprobs, routes, used_at) VALUES (?,?,?,?,?,?) "
        "ON CONFLICT (id) DO NOTHING",
        [(row.id, tenant, row.tokens, row.logprobs, row.routes, now) for row in rows],
    )
    connection.execute("DELETE FROM sequences WHERE used_at < ?", (now - _KEPT_SECONDS,))
    connection.execute("DELETE FROM sequences WHERE seq <= (SELECT max(seq) FROM sequences) - ?", (_KEPT,))


def find(connection: Connection, tenant: str, sequence: str) -> SequenceRow | None:
    """None when it is unknown, forgotten or another tenant's. Being asked for keeps it for another day."""
    now = time.time()
    row = connection.execute(
        "UPDATE sequences SET used_at = ? WHERE id = ? AND tenant = ? AND used_at >= ? "
        "RETURNING id, tokens, logprobs, routes",
        (now, sequence, tenant, now - _KEPT_SECONDS),
    ).fetchone()
    return SequenceRow(row["id"], row["tokens"], row["logprobs"], row["routes"]) if row else None
