"""Rows of experience: episodes, feedback, probes, laps, and how far each stage has read."""

from collections.abc import Collection, Iterator
from dataclasses import replace

import msgspec

from anubhav.store.connection import Connection, Row
from anubhav.types.experience import Episode, Feedback, Lap, Probe, rater_of


def add_episode(connection: Connection, episode: Episode) -> bool:
    """False when there is one of this id already."""
    added = connection.execute(
        "INSERT INTO episodes (id, tenant, alias, session, body, created_at, user, turn, adapter, arm,"
        " memory) VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
        (
            episode.id, episode.tenant, episode.alias, episode.session, _pack(episode), episode.created_at,
            episode.user, episode.turn, "" if episode.origin else episode.adapter or "",
            "asked" if episode.origin else episode.arm, episode.memory,
        ),
    )  # fmt: skip
    return added.rowcount == 1


def last_main(connection: Connection, tenant: str, session: str) -> Episode | None:
    """The newest reply of a session that is no side turn."""
    row = connection.execute(
        "SELECT seq, body FROM episodes WHERE tenant = ? AND session = ? AND turn = 'main' ORDER BY seq DESC LIMIT 1",
        (tenant, session),
    ).fetchone()
    return _episode(row) if row else None


def episodes_in(connection: Connection, tenant: str, session: str, limit: int) -> list[Episode]:
    """Of a session, oldest first."""
    rows = connection.execute(
        "SELECT seq, body FROM episodes WHERE tenant = ? AND session = ? ORDER BY seq LIMIT ?", (tenant, session, limit)
    )
    return [_episode(row) for row in rows]


def episodes_after(connection: Connection, tenant: str, alias: str | None, seq: int, limit: int) -> list[Episode]:
    """In order of arrival; of every alias when it is None."""
    rows = connection.execute(
        "SELECT seq, body FROM episodes WHERE tenant = ? AND alias = coalesce(?, alias) AND seq > ? ORDER BY seq"
        " LIMIT ?",
        (tenant, alias, seq, limit),
    )
    return [_episode(row) for row in rows]


def fill_columns(connection: Connection, limit: int) -> int:
    """Episodes and feedback of an older server get the columns that lineage is looked up by; returns how many did."""
    rows = connection.execute("SELECT seq, body FROM episodes WHERE adapter IS NULL LIMIT ?", (limit,)).fetchall()
    for row in rows:
        episode = _episode(row)
        connection.execute("UPDATE episodes SET adapter = ? WHERE seq = ?", (episode.adapter or "", episode.seq))
        for one in feedback_of(connection, episode.id):
            connection.execute("UPDATE feedback SET rater = ? WHERE seq = ?", (rater_of(one, episode), one.seq))
    return len(rows)


def find_episode(connection: Connection, episode: str) -> Episode | None:
    row = connection.execute("SELECT seq, body FROM episodes WHERE id = ?", (episode,)).fetchone()
    return _episode(row) if row else None


def recent_episodes(connection: Connection, tenant: str | None, limit: int) -> list[Episode]:
    """Newest first; every tenant's when `tenant` is None."""
    rows = connection.execute(
        "SELECT seq, body FROM episodes WHERE tenant = coalesce(?, tenant) ORDER BY seq DESC LIMIT ?", (tenant, limit)
    )
    return [_episode(row) for row in rows]


def add_feedback(connection: Connection, feedback: Feedback, alias: str, digest: str, rater: str | None = None) -> None:
    """`rater`: whose judgement it counts as."""
    connection.execute(
        "INSERT INTO feedback (id, tenant, episode, alias, kind, body, digest, created_at, rater)"
        " VALUES (?,?,?,?,?,?,?,?,?)",
        (
            feedback.id, feedback.tenant, feedback.episode, alias, feedback.kind, _pack(feedback), digest,
            feedback.created_at, rater,
        ),
    )  # fmt: skip


def find_feedback(connection: Connection, tenant: str, feedback: str) -> tuple[Feedback, str] | None:
    """The feedback and the digest of what was sent."""
    row = connection.execute("SELECT * FROM feedback WHERE tenant = ? AND id = ?", (tenant, feedback)).fetchone()
    return (_feedback(row), row["digest"]) if row else None


def feedback_after(connection: Connection, alias: str, position: int, limit: int) -> list[Feedback]:
    """In order of arrival."""
    rows = connection.execute(
        "SELECT seq, body FROM feedback WHERE alias = ? AND seq > ? ORDER BY seq LIMIT ?", (alias, position, limit)
    )
    return [_feedback(row) for row in rows]


def count_after(connection: Connection, alias: str, position: int) -> int:
    (found,) = connection.execute(
        "SELECT count(*) FROM feedback WHERE alias = ? AND seq > ?", (alias, position)
    ).fetchone()
    return found


def corrections_between(connection: Connection, alias: str, after: int, upto: int, limit: int) -> list[Feedback]:
    """Those that came after one position and not after another, newest first."""
    rows = connection.execute(
        "SELECT seq, body FROM feedback WHERE alias = ? AND seq > ? AND seq <= ? AND kind = 'correction'"
        " ORDER BY seq DESC LIMIT ?",
        (alias, after, upto, limit),
    )
    return [_feedback(row) for row in rows]


def feedback_before(connection: Connection, alias: str, position: int, limit: int) -> list[Feedback]:
    """What was read already, newest first."""
    rows = connection.execute(
        "SELECT seq, body FROM feedback WHERE alias = ? AND seq <= ? ORDER BY seq DESC LIMIT ?",
        (alias, position, limit),
    )
    return [_feedback(row) for row in rows]


def feedback_of(connection: Connection, episode: str) -> list[Feedback]:
    rows = connection.execute("SELECT seq, body FROM feedback WHERE episode = ? ORDER BY seq", (episode,))
    return [_feedback(row) for row in rows]


def position(connection: Connection, stage: str, alias: str) -> int:
    """How far `stage` has read; 0 at first."""
    row = connection.execute("SELECT position FROM cursors WHERE stage = ? AND alias = ?", (stage, alias)).fetchone()
    return row["position"] if row else 0


def advance(connection: Connection, stage: str, alias: str, to: int) -> None:
    connection.execute(
        "INSERT INTO cursors (stage, alias, position) VALUES (?,?,?)"
        " ON CONFLICT (stage, alias) DO UPDATE SET position = excluded.position",
        (stage, alias, to),
    )


def add_probe(connection: Connection, probe: Probe, now: float) -> None:
    """Adding the same id again replaces it."""
    connection.execute(
        "INSERT INTO probes (id, alias, suite, body, created_at) VALUES (?,?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET alias = excluded.alias, suite = excluded.suite, body = excluded.body,"
        " created_at = excluded.created_at",
        (probe.id, probe.alias, probe.suite, _pack(probe), now),
    )


def probes_of(connection: Connection, alias: str) -> list[Probe]:
    rows = connection.execute("SELECT body FROM probes WHERE alias = ? ORDER BY created_at, id", (alias,))
    return [msgspec.msgpack.decode(row["body"], type=Probe) for row in rows]


def drop_probes(connection: Connection, alias: str, names: Collection[str]) -> int:
    return sum(
        connection.execute("DELETE FROM probes WHERE alias = ? AND id = ?", (alias, name)).rowcount for name in names
    )


def put_lap(connection: Connection, lap: Lap, evidence: str | None = None) -> None:
    """Insert the lap, or bring it up to date; evidence that stands is kept unless new is given."""
    connection.execute(
        "INSERT INTO laps (id, alias, state, phase, report, evidence, started_at, finished_at) VALUES (?,?,?,?,?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, phase = excluded.phase, report = excluded.report,"
        " evidence = coalesce(excluded.evidence, laps.evidence), finished_at = excluded.finished_at",
        (
            lap.id, lap.alias, lap.state, lap.phase, msgspec.json.encode(lap.report).decode(), evidence, lap.started_at,
            lap.finished_at,
        ),
    )  # fmt: skip


def find_lap(connection: Connection, lap: str) -> tuple[Lap, str | None] | None:
    """The lap and its evidence, JSON."""
    row = connection.execute("SELECT * FROM laps WHERE id = ?", (lap,)).fetchone()
    return (_lap(row), row["evidence"]) if row else None


def recent_laps(connection: Connection, alias: str | None, limit: int, before: str | None = None) -> list[Lap]:
    """Newest first; those begun before one when it is named."""
    rows = connection.execute(
        "SELECT * FROM laps WHERE alias = coalesce(?, alias)"
        " AND (? IS NULL OR seq < (SELECT seq FROM laps WHERE id = ?)) ORDER BY seq DESC LIMIT ?",
        (alias, before, before, limit),
    )
    return [_lap(row) for row in rows]


def last_laps(connection: Connection) -> list[Lap]:
    """Of each alias."""
    rows = connection.execute("SELECT * FROM laps WHERE seq IN (SELECT max(seq) FROM laps GROUP BY alias) ORDER BY seq")
    return [_lap(row) for row in rows]


def running_laps(connection: Connection) -> Iterator[Lap]:
    rows = connection.execute("SELECT * FROM laps WHERE state IN ('running', 'paused') ORDER BY seq").fetchall()
    return (_lap(row) for row in rows)


def _pack(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def _episode(row: Row) -> Episode:
    return replace(msgspec.msgpack.decode(row["body"], type=Episode), seq=row["seq"])


def _feedback(row: Row) -> Feedback:
    return replace(msgspec.msgpack.decode(row["body"], type=Feedback), seq=row["seq"])


def _lap(row: Row) -> Lap:
    return Lap(
        row["id"],
        row["alias"],
        row["state"],
        row["phase"],
        row["started_at"],
        row["finished_at"],
        msgspec.json.decode(row["report"]),
    )
