"""Rows about people: a tenant's policy, who opted out, what left the house in exports, and who was erased."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from anubhav.store.connection import Connection
from anubhav.types.people import Pattern, Policy


def find_policy(connection: Connection, tenant: str) -> Policy:
    row = connection.execute("SELECT * FROM policies WHERE tenant = ?", (tenant,)).fetchone()
    if row is None:
        return Policy()
    patterns = msgspec.json.decode(row["patterns"], type=tuple[Pattern, ...])
    return Policy(bool(row["train"]), row["keep_days"], patterns)


def keep_policy(connection: Connection, tenant: str, policy: Policy) -> None:
    connection.execute(
        "INSERT INTO policies (tenant, train, keep_days, patterns) VALUES (?,?,?,?)"
        " ON CONFLICT (tenant) DO UPDATE SET train = excluded.train, keep_days = excluded.keep_days,"
        " patterns = excluded.patterns",
        (tenant, policy.train, policy.keep_days, msgspec.json.encode(policy.patterns).decode()),
    )


def expiring(connection: Connection) -> list[tuple[str, float]]:
    """(tenant, days) of those who keep things for a time only."""
    rows = connection.execute("SELECT tenant, keep_days FROM policies WHERE keep_days IS NOT NULL")
    return [(row["tenant"], row["keep_days"]) for row in rows]


def opted_out(connection: Connection, tenant: str, user: str | None) -> bool:
    found = connection.execute("SELECT 1 FROM opt_outs WHERE tenant = ? AND user = ?", (tenant, user)).fetchone()
    return found is not None


def opt_out(connection: Connection, tenant: str, user: str, *, out: bool) -> None:
    if out:
        connection.execute("INSERT INTO opt_outs VALUES (?,?,?) ON CONFLICT DO NOTHING", (tenant, user, time.time()))
    else:
        connection.execute("DELETE FROM opt_outs WHERE tenant = ? AND user = ?", (tenant, user))


def consents(connection: Connection, tenant: str, user: str | None) -> bool:
    """Whether what this person says may be learned from."""
    row = connection.execute("SELECT train FROM policies WHERE tenant = ?", (tenant,)).fetchone()
    return (row is None or bool(row["train"])) and not (user is not None and opted_out(connection, tenant, user))


def add_export(connection: Connection, export: str, tenant: str, form: str, place: str) -> None:
    """`place` is what the one who exports says of where it goes; nothing here ever opens it."""
    connection.execute("INSERT INTO exports VALUES (?,?,?,?,?)", (export, tenant, form, place, time.time()))


def add_exported(connection: Connection, export: str, episodes: Iterable[str]) -> None:
    connection.executemany(
        "INSERT INTO exported (export, episode) VALUES (?,?) ON CONFLICT DO NOTHING",
        [(export, episode) for episode in episodes],
    )


def exports_of(connection: Connection, episodes: Iterable[str]) -> list[dict[str, object]]:
    """The exports that hold any of these, oldest first."""
    rows = connection.execute(
        "SELECT exports.id, form, place, exports.created_at, count(*) AS episodes FROM json_each(?) AS one"
        " JOIN exported ON exported.episode = one.value JOIN exports ON exports.id = exported.export"
        " GROUP BY exports.id ORDER BY exports.created_at, exports.id",
        (msgspec.json.encode(list(episodes)).decode(),),
    )
    return [dict(row) for row in rows]


def episodes_of_user(connection: Connection, tenant: str, user: str) -> list[str]:
    rows = connection.execute("SELECT id FROM episodes WHERE tenant = ? AND user = ? ORDER BY seq", (tenant, user))
    return [row["id"] for row in rows]


def mark_erased(connection: Connection, tenant: str, mark: str, episodes: Iterable[str]) -> None:
    connection.executemany(
        "INSERT INTO erased (tenant, mark, episode) VALUES (?,?,?) ON CONFLICT DO NOTHING",
        [(tenant, mark, one) for one in episodes],
    )


def erased_of(connection: Connection, tenant: str, mark: str) -> list[str]:
    rows = connection.execute("SELECT episode FROM erased WHERE tenant = ? AND mark = ?", (tenant, mark))
    return [row["episode"] for row in rows]


def older_than(connection: Connection, tenant: str, moment: float, limit: int) -> list[str]:
    rows = connection.execute(
        "SELECT id FROM episodes WHERE tenant = ? AND created_at < ? ORDER BY created_at LIMIT ?",
        (tenant, moment, limit),
    )
    return [row["id"] for row in rows]


def drop_episodes(connection: Connection, episodes: Sequence[str]) -> int:
    """With all feedback on them and the probes made of them; returns how much feedback there was."""
    gone = 0
    for name in episodes:
        gone += connection.execute("DELETE FROM feedback WHERE episode = ?", (name,)).rowcount
        # Probes made of an episode are named after it: `<episode>:…`, whose names lie before `<episode>;`.
        connection.execute("DELETE FROM probes WHERE id = ? OR (id > ? AND id < ?)", (name, f"{name}:", f"{name};"))
        connection.execute("DELETE FROM episodes WHERE id = ?", (name,))
    return gone


def feedback_ids_by(connection: Connection, tenant: str, rater: str) -> list[str]:
    rows = connection.execute("SELECT id FROM feedback WHERE tenant = ? AND rater = ? ORDER BY seq", (tenant, rater))
    return [row["id"] for row in rows]


def laps_with(connection: Connection, names: Iterable[str]) -> list[str]:
    """The laps that used any of these episodes or feedback."""
    rows = connection.execute(
        "SELECT DISTINCT lap FROM json_each(?) AS one JOIN used"
        " ON used.episode = one.value OR (used.feedback <> '' AND used.feedback = one.value)",
        (msgspec.json.encode(list(names)).decode(),),
    )
    return [row["lap"] for row in rows]


def drop_feedback_by(connection: Connection, tenant: str, rater: str) -> int:
    """What this person said of other people's replies."""
    return connection.execute("DELETE FROM feedback WHERE tenant = ? AND rater = ?", (tenant, rater)).rowcount


def clean_lap(connection: Connection, lap: str, episodes: frozenset[str]) -> None:
    """Take what was said in probes made of these episodes out of a lap's evidence, and its passes out of the journal
    once its run has ended, for nothing replays them any more."""
    row = connection.execute("SELECT evidence FROM laps WHERE id = ?", (lap,)).fetchone()
    if row and row["evidence"]:
        kept = msgspec.json.encode(_without(msgspec.json.decode(row["evidence"]), episodes)).decode()
        connection.execute("UPDATE laps SET evidence = ? WHERE id = ?", (kept, lap))
    connection.execute(
        "UPDATE ops SET body = ? WHERE run IN (SELECT runs.id FROM sessions JOIN runs ON runs.session = sessions.id"
        " WHERE runs.ended = 1 AND instr(sessions.tags, ?) > 0)",
        (b"", msgspec.json.encode(lap).decode()),  # tags are a list of strings, as JSON
    )


def _without(value: Any, episodes: frozenset[str]) -> Any:
    """Without the entries of lists that name a probe of one of the episodes."""
    if isinstance(value, dict):
        return {key: _without(inner, episodes) for key, inner in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_without(inner, episodes) for inner in cast(list[Any], value) if not _names(inner, episodes)]
    return value


def _names(value: Any, episodes: frozenset[str]) -> bool:
    probe: Any = cast(dict[str, Any], value).get("probe") if isinstance(value, dict) else None
    return isinstance(probe, str) and probe.partition(":")[0] in episodes


def keep_audit(connection: Connection, tenant: str, event: str, details: object) -> None:
    connection.execute(
        "INSERT INTO audit (tenant, event, details, created_at) VALUES (?,?,?,?)",
        (tenant, event, msgspec.json.encode(details).decode(), time.time()),
    )
