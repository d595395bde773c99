"""Rows of tallies: what people said of the arms since a trial came to its step, each judgement counted once.

Votes are kept because a rater's last word replaces the one before. They are copies: a trigger drops all of an alias's
when feedback that may be among them is erased.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean

from anubhav.store.connection import Connection
from anubhav.types.experience import Arm
from anubhav.types.releases import Vote

_CLOCKS = 3600.0
"""Seconds that a clock may have been put back: what is read too early is passed over later."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far an alias's feedback is counted, for which step, and whom it leaves out."""

    trial: str
    since: float
    position: int
    unheard: tuple[str, ...]
    """Names of raters, sorted."""


def find(connection: Connection, alias: str) -> Place | None:
    row = connection.execute("SELECT * FROM tallies WHERE alias = ?", (alias,)).fetchone()
    return Place(row["trial"], row["since"], row["position"], tuple(json.loads(row["unheard"]))) if row else None


def begin(connection: Connection, alias: str, trial: str, since: float, unheard: Iterable[str]) -> Place:
    """Forget what was counted, and count from the beginning of the step."""
    drop(connection, alias)
    place = Place(trial, since, before(connection, alias, since), tuple(unheard))
    _put(connection, alias, place)
    return place


def before(connection: Connection, alias: str, since: float) -> int:
    """The position before the first feedback that can be about a reply since then."""
    (first,) = connection.execute(
        "SELECT coalesce(min(seq) - 1, (SELECT coalesce(max(seq), 0) FROM feedback)) FROM feedback"
        " WHERE alias = ? AND created_at >= ?",
        (alias, since - _CLOCKS),
    ).fetchone()
    return first


def drop(connection: Connection, alias: str) -> None:
    for table in ("tallies", "tally_votes", "tally_people"):
        connection.execute(f"DELETE FROM {table} WHERE alias = ?", (alias,))


def count(connection: Connection, alias: str, place: Place, votes: Iterable[Vote], to: int) -> bool:
    """The votes and how far they were read, at once. False, and nothing, when `place` is no longer where it stands."""
    if find(connection, alias) != place:
        return False
    moved: dict[tuple[Arm, str], None] = {}
    for one in votes:
        # What is replaced keeps its number, so that sums are taken in the same order whoever takes them.
        connection.execute(
            "INSERT INTO tally_votes (alias, episode, choice, kind, voter, arm, person, reward)"
            " VALUES (?,?,?,?,?,?,?,?)"
            " ON CONFLICT (alias, episode, choice, kind, voter) DO UPDATE SET reward = excluded.reward",
            (alias, one.episode, one.choice, one.kind, one.voter, one.arm, one.person, one.reward),
        )
        moved[one.arm, one.person] = None
    for arm, person in moved:
        _sum_up(connection, alias, arm, person)
    _put(connection, alias, Place(place.trial, place.since, to, place.unheard))
    return True


def people(connection: Connection, alias: str, arm: Arm) -> list[tuple[str, float, int]]:
    """(person, mean reward of their replies, how many were judged) of an arm."""
    rows = connection.execute(
        "SELECT person, mean, replies FROM tally_people WHERE alias = ? AND arm = ? ORDER BY person", (alias, arm)
    )
    return [(row["person"], row["mean"], row["replies"]) for row in rows]


def _sum_up(connection: Connection, alias: str, arm: Arm, person: str) -> None:
    rows = connection.execute(
        "SELECT episode, choice, reward FROM tally_votes WHERE alias = ? AND arm = ? AND person = ? ORDER BY number",
        (alias, arm, person),
    )
    found: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        found.setdefault((row["episode"], row["choice"]), []).append(row["reward"])
    rewards = [sum(said) / len(said) for said in found.values()]
    connection.execute(
        "INSERT INTO tally_people (alias, arm, person, mean, replies) VALUES (?,?,?,?,?)"
        " ON CONFLICT (alias, arm, person) DO UPDATE SET mean = excluded.mean, replies = excluded.replies",
        (alias, arm, person, mean(rewards), len(rewards)),
    )


def _put(connection: Connection, alias: str, place: Place) -> None:
    connection.execute(
        "INSERT INTO tallies (alias, trial, since, position, unheard) VALUES (?,?,?,?,?)"
        " ON CONFLICT (alias) DO UPDATE SET trial = excluded.trial, since = excluded.since,"
        " position = excluded.position, unheard = excluded.unheard",
        (alias, place.trial, place.since, place.position, json.dumps(place.unheard)),
    )
