"""Rows of trials: each alias's release policy, the candidates that were tried, and what people said by arm."""

import json
import sqlite3
from collections.abc import Iterable

import msgspec

from anubhav.types.experience import Arm, Episode, Feedback
from anubhav.types.releases import ReleasePolicy, Trial


def put_policy(connection: sqlite3.Connection, alias: str, policy: ReleasePolicy) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO release_policies (alias, body) VALUES (?, ?)",
        (alias, msgspec.json.encode(policy).decode()),
    )


def find_policy(connection: sqlite3.Connection, alias: str) -> ReleasePolicy | None:
    row = connection.execute("SELECT body FROM release_policies WHERE alias = ?", (alias,)).fetchone()
    return msgspec.json.decode(row["body"], type=ReleasePolicy) if row else None


def put_trial(connection: sqlite3.Connection, trial: Trial) -> None:
    connection.execute(
        "INSERT INTO trials (id, alias, state, body) VALUES (?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
        (trial.id, trial.alias, trial.state, msgspec.json.encode(trial).decode()),
    )


def running(connection: sqlite3.Connection, alias: str) -> Trial | None:
    row = connection.execute("SELECT body FROM trials WHERE alias = ? AND state = 'running'", (alias,)).fetchone()
    return msgspec.json.decode(row["body"], type=Trial) if row else None


def tried_now(connection: sqlite3.Connection) -> list[str]:
    """Aliases with a trial that runs."""
    return [row["alias"] for row in connection.execute("SELECT alias FROM trials WHERE state = 'running'")]


def dropped(connection: sqlite3.Connection, alias: str, before: float) -> list[str]:
    """Paths of the candidates that were given up before then, oldest first."""
    rows = connection.execute(
        "SELECT body FROM trials WHERE alias = ? AND state NOT IN ('running', 'promoted') ORDER BY seq", (alias,)
    )
    ended = (msgspec.json.decode(row["body"], type=Trial) for row in rows)
    return [one.path for one in ended if one.ended_at is not None and one.ended_at < before]


def recent(connection: sqlite3.Connection, alias: str, limit: int) -> list[Trial]:
    """Newest first."""
    rows = connection.execute("SELECT body FROM trials WHERE alias = ? ORDER BY seq DESC LIMIT ?", (alias, limit))
    return [msgspec.json.decode(row["body"], type=Trial) for row in rows]


def judged(
    connection: sqlite3.Connection, alias: str, arms: Iterable[Arm], since: float
) -> list[tuple[Episode, list[Feedback]]]:
    """The main replies of these arms since a time that somebody judged, with all that was said of each."""
    rows = connection.execute(
        "SELECT episodes.seq AS place, episodes.body AS reply, feedback.body AS said FROM episodes"
        " JOIN feedback ON feedback.episode = episodes.id WHERE episodes.alias = ? AND episodes.created_at >= ?"
        " AND episodes.arm IN (SELECT value FROM json_each(?)) AND episodes.turn = 'main'"
        " ORDER BY episodes.seq, feedback.seq",
        (alias, since, json.dumps(list(arms))),
    )
    found: dict[int, tuple[Episode, list[Feedback]]] = {}
    for row in rows:
        if row["place"] not in found:
            found[row["place"]] = (msgspec.msgpack.decode(row["reply"], type=Episode), [])
        found[row["place"]][1].append(msgspec.msgpack.decode(row["said"], type=Feedback))
    return list(found.values())


def pace(connection: sqlite3.Connection, alias: str, arm: Arm, since: float, limit: int) -> list[float]:
    """Seconds until the first word of an arm's newest replies."""
    rows = connection.execute(
        "SELECT body FROM episodes WHERE alias = ? AND arm = ? AND created_at >= ? ORDER BY seq DESC LIMIT ?",
        (alias, arm, since, limit),
    )
    waits = (msgspec.msgpack.decode(row["body"], type=Episode).waited for row in rows)
    return [wait for wait in waits if wait is not None]
