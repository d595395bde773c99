"""Rows of the shadow: pairs of what somebody was given and what the candidate would have said. They go with the
reply they belong to."""

import msgspec

from anubhav.store.connection import Connection
from anubhav.types.releases import Pair


def add(connection: Connection, trial: str, pair: Pair) -> bool:
    """False when the prompt was answered for this trial already, or the reply was erased meanwhile."""
    added = connection.execute(
        "INSERT INTO shadows (trial, reply, body) SELECT ?, id, ? FROM episodes WHERE id = ? ON CONFLICT DO NOTHING",
        (trial, msgspec.json.encode(pair).decode(), pair.reply),
    )
    return added.rowcount == 1


def count(connection: Connection, trial: str) -> int:
    (found,) = connection.execute("SELECT count(*) FROM shadows WHERE trial = ?", (trial,)).fetchone()
    return found


def of_trial(connection: Connection, trial: str) -> list[Pair]:
    """In the order they came."""
    rows = connection.execute("SELECT body FROM shadows WHERE trial = ? ORDER BY seq", (trial,))
    return [msgspec.json.decode(row["body"], type=Pair) for row in rows]
