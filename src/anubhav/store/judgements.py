"""Judgements as people look at them: a page at a time, each with its reply and the laps that had it in their hands."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from anubhav.store import experience
from anubhav.store.connection import Connection
from anubhav.store.connection import Row as Found
from anubhav.types.experience import Episode, Feedback

_SLASHES = 8
_LAPS = 5
"""Told of one judgement."""


@dataclass(frozen=True, slots=True)
class Row:
    feedback: Feedback
    episode: Episode | None
    laps: tuple[str, ...]
    """Newest first."""


def page(
    connection: Connection,
    alias: str,
    before: int | None,
    limit: int,
    *,
    tenant: str | None = None,
    kind: str | None = None,
    rater: str | None = None,
) -> list[Row]:
    """Newest first; `rater` as the critic names raters: `<tenant>/<rater>`."""
    wanted: list[tuple[str, str]] = [("alias", alias)]
    wanted += [("kind", kind)] if kind else []
    wanted += [("tenant", tenant)] if tenant else []
    if rater is not None:
        if (found := _rater(connection, rater)) is None:
            return []
        wanted += zip(("tenant", "rater"), found, strict=True)
    where = " AND ".join(f"{column} = ?" for column, _ in wanted)
    rows = connection.execute(
        f"SELECT seq, body FROM feedback WHERE {where} AND seq < ? ORDER BY seq DESC LIMIT ?",
        (*(value for _, value in wanted), before or 1 << 62, limit),
    ).fetchall()
    return [_row(connection, row) for row in rows]


def at(connection: Connection, positions: Iterable[int]) -> list[Row]:
    """In the order asked for, without those that are no more."""
    query = "SELECT seq, body FROM feedback WHERE seq = ?"
    found = [connection.execute(query, (position,)).fetchone() for position in positions]
    return [_row(connection, row) for row in found if row]


def _rater(connection: Connection, name: str) -> tuple[str, str] | None:
    """A tenant's name may have slashes of its own."""
    parts = name.split("/", _SLASHES)
    for cut in range(1, len(parts)):
        tenant, rater = "/".join(parts[:cut]), "/".join(parts[cut:])
        known = "SELECT 1 FROM feedback WHERE rater = ? AND tenant = ? LIMIT 1"
        if connection.execute(known, (rater, tenant)).fetchone():
            return tenant, rater
    return None


def _row(connection: Connection, row: Found) -> Row:
    feedback = replace(msgspec.msgpack.decode(row["body"], type=Feedback), seq=row["seq"])
    laps = connection.execute(
        "SELECT used.lap FROM used JOIN laps ON laps.id = used.lap WHERE used.feedback = ?"
        " GROUP BY used.lap, laps.seq ORDER BY laps.seq DESC LIMIT ?",
        (feedback.id, _LAPS),
    )
    return Row(feedback, experience.find_episode(connection, feedback.episode), tuple(one["lap"] for one in laps))
