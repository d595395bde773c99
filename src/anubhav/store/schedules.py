"""Rows of schedules: when each alias learns by itself, and what waits for it."""

import msgspec

from anubhav.store import experience
from anubhav.store.connection import Connection
from anubhav.types.schedules import Schedule


def put(connection: Connection, alias: str, schedule: Schedule) -> None:
    connection.execute(
        "INSERT INTO schedules (alias, body) VALUES (?, ?) ON CONFLICT (alias) DO UPDATE SET body = excluded.body",
        (alias, msgspec.json.encode(schedule).decode()),
    )


def drop(connection: Connection, alias: str) -> None:
    connection.execute("DELETE FROM schedules WHERE alias = ?", (alias,))


def every(connection: Connection) -> dict[str, Schedule]:
    rows = connection.execute("SELECT alias, body FROM schedules ORDER BY alias")
    return {row["alias"]: msgspec.json.decode(row["body"], type=Schedule) for row in rows}


def waiting(connection: Connection, stage: str, alias: str) -> tuple[int, float]:
    """How many judgements of an alias are unread, and when the newest of them came."""
    position = experience.position(connection, stage, alias)
    row = connection.execute(
        "SELECT count(*) AS count, coalesce(max(created_at), 0) AS newest FROM feedback WHERE alias = ? AND seq > ?",
        (alias, position),
    ).fetchone()
    return row["count"], row["newest"]
