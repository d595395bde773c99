"""Rows of trials: each alias's release policy, what was tried, how fast its arms answer and how often they fail."""

import msgspec

from anubhav.store.connection import Connection
from anubhav.types.experience import Arm, Episode
from anubhav.types.releases import Rate, ReleasePolicy, Trial


def put_policy(connection: Connection, alias: str, policy: ReleasePolicy) -> None:
    connection.execute(
        "INSERT INTO release_policies (alias, body) VALUES (?, ?)"
        " ON CONFLICT (alias) DO UPDATE SET body = excluded.body",
        (alias, msgspec.json.encode(policy).decode()),
    )


def find_policy(connection: Connection, alias: str) -> ReleasePolicy | None:
    row = connection.execute("SELECT body FROM release_policies WHERE alias = ?", (alias,)).fetchone()
    return msgspec.json.decode(row["body"], type=ReleasePolicy) if row else None


def put_trial(connection: Connection, trial: Trial) -> None:
    connection.execute(
        "INSERT INTO trials (id, alias, state, body) VALUES (?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
        (trial.id, trial.alias, trial.state, msgspec.json.encode(trial).decode()),
    )


def running(connection: Connection, alias: str) -> Trial | None:
    row = connection.execute("SELECT body FROM trials WHERE alias = ? AND state = 'running'", (alias,)).fetchone()
    return msgspec.json.decode(row["body"], type=Trial) if row else None


def tried_now(connection: Connection) -> list[str]:
    """Aliases with a trial that runs."""
    return [row["alias"] for row in connection.execute("SELECT alias FROM trials WHERE state = 'running'")]


def dropped(connection: Connection, alias: str, before: float) -> list[str]:
    """Paths of the candidates that were given up before then, oldest first."""
    rows = connection.execute(
        "SELECT body FROM trials WHERE alias = ? AND state NOT IN ('running', 'promoted') ORDER BY seq", (alias,)
    )
    ended = (msgspec.json.decode(row["body"], type=Trial) for row in rows)
    return [one.path for one in ended if one.ended_at is not None and one.ended_at < before]


def recent(connection: Connection, alias: str, limit: int) -> list[Trial]:
    """Newest first."""
    rows = connection.execute("SELECT body FROM trials WHERE alias = ? ORDER BY seq DESC LIMIT ?", (alias, limit))
    return [msgspec.json.decode(row["body"], type=Trial) for row in rows]


def add_failure(connection: Connection, alias: str, arm: Arm, cause: str, now: float) -> None:
    """A reply that ended in an error while something is tried out; the same cause again is no other failure."""
    if trial := running(connection, alias):
        connection.execute(
            "INSERT INTO failures (alias, trial, arm, cause, created_at) VALUES (?,?,?,?,?)"
            " ON CONFLICT (alias, trial, arm, cause) DO UPDATE SET created_at = excluded.created_at",
            (alias, trial.id, arm, cause, now),
        )


def rate(connection: Connection, trial: Trial, arm: Arm) -> Rate:
    """Of an arm's replies since the trial came to its step."""
    (failed,) = connection.execute(
        "SELECT count(*) FROM failures WHERE alias = ? AND trial = ? AND arm = ? AND created_at >= ?",
        (trial.alias, trial.id, arm, trial.since),
    ).fetchone()
    (well,) = connection.execute(
        "SELECT count(*) FROM episodes WHERE alias = ? AND arm = ? AND created_at >= ?", (trial.alias, arm, trial.since)
    ).fetchone()
    return Rate(failed, failed + well)


def drop_failures(connection: Connection, alias: str) -> None:
    connection.execute("DELETE FROM failures WHERE alias = ?", (alias,))


def pace(connection: Connection, alias: str, arm: Arm, since: float, limit: int) -> list[float]:
    """Seconds until the first word of an arm's newest replies."""
    rows = connection.execute(
        "SELECT body FROM episodes WHERE alias = ? AND arm = ? AND created_at >= ? ORDER BY seq DESC LIMIT ?",
        (alias, arm, since, limit),
    )
    waits = (msgspec.msgpack.decode(row["body"], type=Episode).waited for row in rows)
    return [wait for wait in waits if wait is not None]
