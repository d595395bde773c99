"""Rows of the shadow: pairs of what somebody was given and what the candidate would have said. They go with the
reply they belong to."""

import sqlite3

import msgspec

from anubhav.types.releases import Pair


def add(connection: sqlite3.Connection, trial: str, pair: Pair) -> bool:
    """False when the prompt was answered for this trial already, or the reply was erased meanwhile."""
    added = connection.execute(
        "INSERT OR IGNORE INTO shadows (trial, reply, body) SELECT ?, id, ? FROM episodes WHERE id = ?",
        (trial, msgspec.json.encode(pair).decode(), pair.reply),
    )
    return added.rowcount == 1


def count(connection: sqlite3.Connection, trial: str) -> int:
    (found,) = connection.execute("SELECT count(*) FROM shadows WHERE trial = ?", (trial,)).fetchone()
    return found


def of_trial(connection: sqlite3.Connection, trial: str) -> list[Pair]:
    """In the order they came."""
    rows = connection.execute("SELECT body FROM shadows WHERE trial = ? ORDER BY seq", (trial,))
    return [msgspec.json.decode(row["body"], type=Pair) for row in rows]
