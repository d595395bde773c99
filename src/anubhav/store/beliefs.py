"""Rows of the critic: beliefs by alias and base model, the votes that are part of them, how raters stand, and what was
read of answers. The bodies are the rewards room's own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from anubhav.store.connection import Connection
from anubhav.types.experience import Episode

Place = tuple[str, str]
"""(alias, base model)"""


@dataclass(frozen=True, slots=True)
class Found:
    body: bytes
    kept: list[bytes]
    """In the order the votes came."""
    raters: list[bytes]
    ballots: list[tuple[str, bytes]]


def find(connection: Connection, place: Place) -> Found | None:
    row = connection.execute("SELECT body FROM beliefs WHERE alias = ? AND base_model = ?", place).fetchone()
    if row is None:
        return None
    where = "WHERE alias = ? AND base_model = ?"
    kept = connection.execute(f"SELECT body FROM belief_votes {where} ORDER BY seq, key", place)
    raters = connection.execute(f"SELECT body FROM belief_raters {where} ORDER BY number", place)
    ballots = connection.execute(f"SELECT item, body FROM belief_ballots {where} ORDER BY item", place)
    return Found(
        row["body"],
        [one["body"] for one in kept],
        [one["body"] for one in raters],
        [(one["item"], one["body"]) for one in ballots],
    )


def places(connection: Connection, alias: str | None = None) -> list[Place]:
    rows = connection.execute(
        "SELECT alias, base_model FROM beliefs WHERE alias = coalesce(?, alias) ORDER BY alias, base_model", (alias,)
    )
    return [(row["alias"], row["base_model"]) for row in rows]


def put(connection: Connection, place: Place, body: bytes) -> None:
    connection.execute(
        "INSERT INTO beliefs (alias, base_model, body) VALUES (?,?,?)"
        " ON CONFLICT (alias, base_model) DO UPDATE SET body = excluded.body",
        (*place, body),
    )


def put_votes(connection: Connection, place: Place, kept: Mapping[str, tuple[int, bytes]], gone: Iterable[str]) -> None:
    """`kept`: key → (position of its feedback, body)."""
    connection.executemany(
        "DELETE FROM belief_votes WHERE alias = ? AND base_model = ? AND key = ?", [(*place, key) for key in gone]
    )
    connection.executemany(
        "INSERT INTO belief_votes (alias, base_model, key, seq, body) VALUES (?,?,?,?,?)"
        " ON CONFLICT (alias, base_model, key) DO UPDATE SET seq = excluded.seq, body = excluded.body",
        [(*place, key, seq, body) for key, (seq, body) in kept.items()],
    )


def put_raters(
    connection: Connection, place: Place, raters: Mapping[str, tuple[int, bytes]], gone: Iterable[str]
) -> None:
    """`raters`: name → (the place in which it was met, body)."""
    connection.executemany(
        "DELETE FROM belief_raters WHERE alias = ? AND base_model = ? AND name = ?", [(*place, name) for name in gone]
    )
    connection.executemany(
        "INSERT INTO belief_raters (alias, base_model, name, number, body) VALUES (?,?,?,?,?)"
        " ON CONFLICT (alias, base_model, name) DO UPDATE SET number = excluded.number, body = excluded.body",
        [(*place, name, number, body) for name, (number, body) in raters.items()],
    )


def put_ballots(connection: Connection, place: Place, ballots: Mapping[str, bytes | None]) -> None:
    """None: nobody's vote on the item is left."""
    connection.executemany(
        "DELETE FROM belief_ballots WHERE alias = ? AND base_model = ? AND item = ?",
        [(*place, item) for item in ballots],
    )
    connection.executemany(
        "INSERT INTO belief_ballots (alias, base_model, item, body) VALUES (?,?,?,?)",
        [(*place, item, body) for item, body in ballots.items() if body is not None],
    )


def drop(connection: Connection, alias: str) -> None:
    """All beliefs about an alias; readings and marks stay."""
    for table in ("beliefs", "belief_votes", "belief_raters", "belief_ballots"):
        connection.execute(f"DELETE FROM {table} WHERE alias = ?", (alias,))


def marks(connection: Connection) -> dict[str, str]:
    return {row["name"]: row["mark"] for row in connection.execute("SELECT name, mark FROM rater_marks")}


def set_mark(connection: Connection, name: str, mark: str | None) -> None:
    connection.execute("DELETE FROM rater_marks WHERE name = ?", (name,))
    if mark:
        connection.execute("INSERT INTO rater_marks (name, mark) VALUES (?,?)", (name, mark))


def implies(connection: Connection, alias: str) -> bool:
    """Whether the next turn is taken as a weak signal for this alias."""
    row = connection.execute("SELECT implied FROM reward_settings WHERE alias = ?", (alias,)).fetchone()
    return bool(row and row["implied"])


def set_implies(connection: Connection, alias: str, *, implied: bool) -> None:
    connection.execute(
        "INSERT INTO reward_settings (alias, implied) VALUES (?,?)"
        " ON CONFLICT (alias) DO UPDATE SET implied = excluded.implied",
        (alias, int(implied)),
    )


def readings(connection: Connection, base_model: str, names: Iterable[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in names:
        row = connection.execute(
            "SELECT body FROM readings WHERE base_model = ? AND name = ?", (base_model, name)
        ).fetchone()
        if row:
            found[name] = row["body"]
    return found


def add_readings(connection: Connection, base_model: str, found: Mapping[str, tuple[str, bytes]], now: float) -> None:
    """Name → (episode, body); what was read before stays, and nothing is kept of an episode that is no more."""
    connection.executemany(
        "INSERT INTO readings (base_model, name, episode, body, created_at)"
        " SELECT ?, ?, id, ?, ? FROM episodes WHERE id = ? ON CONFLICT DO NOTHING",
        [(base_model, name, body, now, episode) for name, (episode, body) in found.items()],
    )


def drop_readings(connection: Connection, episodes: Iterable[str]) -> None:
    connection.executemany("DELETE FROM readings WHERE episode = ?", [(episode,) for episode in episodes])


def said(connection: Connection, tenant: str, session: str, text: str) -> Episode | None:
    """The last episode of a session of which a choice has this text."""
    rows = connection.execute(
        "SELECT body FROM episodes WHERE tenant = ? AND session = ? ORDER BY seq DESC LIMIT 8", (tenant, session)
    )
    found = (msgspec.msgpack.decode(row["body"], type=Episode) for row in rows)
    return next((one for one in found if any(choice.text.strip() == text.strip() for choice in one.choices)), None)


def answers(connection: Connection, alias: str, limit: int) -> list[Episode]:
    """The last main turns of an alias, newest first."""
    rows = connection.execute("SELECT body FROM episodes WHERE alias = ? ORDER BY seq DESC LIMIT ?", (alias, limit))
    found = [msgspec.msgpack.decode(row["body"], type=Episode) for row in rows]
    return [one for one in found if one.turn == "main" and one.trainable]
