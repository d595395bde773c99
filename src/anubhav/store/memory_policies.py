"""Rows of what memory learns: labels from feedback, and the history of each tenant's policy."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from anubhav.store.connection import Connection
from anubhav.types.memory import MemoryPolicy
from anubhav.types.remembering import PolicyChange

LABELS = 1000
"""Judged replies whose labels one lesson reads, the newest."""


def add_label(connection: Connection, tenant: str, feedback: str, episode: str, body: Sequence[Any]) -> None:
    """`body`: one example a chunk, numbers only."""
    connection.execute(
        "INSERT INTO memory_labels (tenant, feedback, episode, body, created_at) VALUES (?,?,?,?,?)"
        " ON CONFLICT (tenant, feedback) DO UPDATE SET episode = excluded.episode, body = excluded.body,"
        " created_at = excluded.created_at",
        (tenant, feedback, episode, msgspec.json.encode(body), time.time()),
    )


def labels(connection: Connection, tenant: str) -> list[tuple[str, bytes]]:
    """(reply, its examples as JSON), newest first."""
    rows = connection.execute(
        "SELECT episode, body FROM memory_labels WHERE tenant = ? ORDER BY created_at DESC LIMIT ?", (tenant, LABELS)
    )
    return [(row["episode"], row["body"]) for row in rows]


def ripe(connection: Connection, least: int) -> list[str]:
    """Tenants with at least so many labels since their policy was last changed or not changed."""
    rows = connection.execute(
        "SELECT tenant FROM memory_labels AS label WHERE created_at > coalesce((SELECT max(created_at) FROM"
        " memory_policies WHERE memory_policies.tenant = label.tenant), 0) GROUP BY tenant HAVING count(*) >= ?",
        (least,),
    )
    return [row["tenant"] for row in rows]


def drop_labels(connection: Connection, tenant: str, names: Iterable[str]) -> None:
    """Those made of any of these replies or judgements."""
    for name in names:
        connection.execute("DELETE FROM memory_labels WHERE episode = ?", (name,))
        connection.execute("DELETE FROM memory_labels WHERE tenant = ? AND feedback = ?", (tenant, name))


def add_change(connection: Connection, tenant: str, change: PolicyChange) -> None:
    connection.execute(
        "INSERT INTO memory_policies (tenant, action, body, who, why, created_at) VALUES (?,?,?,?,?,?)",
        (
            tenant, change.action, msgspec.json.encode(change.policy).decode(), change.who, change.why,
            change.created_at,
        ),
    )  # fmt: skip


def active(connection: Connection, tenant: str) -> MemoryPolicy | None:
    """None while nothing was learned."""
    row = connection.execute(
        "SELECT body FROM memory_policies WHERE tenant = ? AND action <> 'discard' ORDER BY seq DESC LIMIT 1", (tenant,)
    ).fetchone()
    return msgspec.json.decode(row["body"], type=MemoryPolicy) if row else None


def history(connection: Connection, tenant: str, limit: int) -> list[PolicyChange]:
    """Newest first."""
    rows = connection.execute(
        "SELECT * FROM memory_policies WHERE tenant = ? ORDER BY seq DESC LIMIT ?", (tenant, limit)
    )
    return [
        PolicyChange(
            row["seq"], row["action"], msgspec.json.decode(row["body"], type=MemoryPolicy), row["who"], row["why"],
            row["created_at"],
        )
        for row in rows
    ]  # fmt: skip
