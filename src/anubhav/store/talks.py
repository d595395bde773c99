"""Rows of talks, their entries, and deferred replies."""

from collections.abc import Mapping, Sequence

import msgspec

from anubhav.store.connection import Connection, Row
from anubhav.types.chat import Message
from anubhav.types.talks import Deferred, DeferredState, Entry, Talk


def put_talk(connection: Connection, talk: Talk) -> None:
    connection.execute(
        "INSERT INTO talks (id, tenant, metadata, created_at) VALUES (?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata",
        (talk.id, talk.tenant, _json(talk.metadata), talk.created_at),
    )


def find_talk(connection: Connection, tenant: str, talk: str) -> Talk | None:
    row = connection.execute("SELECT * FROM talks WHERE id = ? AND tenant = ?", (talk, tenant)).fetchone()
    if row is None:
        return None
    return Talk(row["id"], row["tenant"], row["created_at"], msgspec.json.decode(row["metadata"]))


def drop_talk(connection: Connection, talk: str) -> None:
    """With its entries."""
    connection.execute("DELETE FROM talks WHERE id = ?", (talk,))


def add_entries(connection: Connection, talk: str, entries: Sequence[Entry]) -> None:
    """At the end, in order."""
    connection.executemany(
        "INSERT INTO talk_entries (id, talk, episode, body, created_at) VALUES (?,?,?,?,?)",
        [(one.id, talk, one.episode, msgspec.msgpack.encode(one.message), one.created_at) for one in entries],
    )


def entries(connection: Connection, talk: str) -> list[Entry]:
    """All, oldest first."""
    rows = connection.execute("SELECT * FROM talk_entries WHERE talk = ? ORDER BY seq", (talk,))
    return [_entry(row) for row in rows]


def page(connection: Connection, talk: str, after: str | None, limit: int, *, newest_first: bool) -> list[Entry]:
    """Behind `after`, which may be an entry that is gone: then from the beginning."""
    sign, order = ("<", "DESC") if newest_first else (">", "ASC")
    rows = connection.execute(
        f"SELECT * FROM talk_entries WHERE talk = ? AND seq {sign} coalesce("
        f" (SELECT seq FROM talk_entries WHERE talk = ? AND id = ?), ?) ORDER BY seq {order} LIMIT ?",
        (talk, talk, after, 1 << 62 if newest_first else -1, limit),
    )
    return [_entry(row) for row in rows]


def find_entry(connection: Connection, talk: str, entry: str) -> Entry | None:
    row = connection.execute("SELECT * FROM talk_entries WHERE talk = ? AND id = ?", (talk, entry)).fetchone()
    return _entry(row) if row else None


def drop_entry(connection: Connection, talk: str, entry: str) -> bool:
    return connection.execute("DELETE FROM talk_entries WHERE talk = ? AND id = ?", (talk, entry)).rowcount == 1


def count_entries(connection: Connection, talk: str) -> int:
    (count,) = connection.execute("SELECT count(*) FROM talk_entries WHERE talk = ?", (talk,)).fetchone()
    return count


def drop_beside(connection: Connection, episodes: Sequence[str]) -> None:
    """What was put by hand into the talks that these episodes belong to."""
    connection.execute(
        "DELETE FROM talk_entries WHERE episode IS NULL AND talk IN (SELECT talk FROM talk_entries WHERE episode IN"
        " (SELECT value FROM json_each(?)))",
        (_json(list(episodes)),),
    )


def expire_entries(connection: Connection, tenant: str, moment: float) -> int:
    """What was put there by hand before this moment; the rest goes with its replies."""
    gone = connection.execute(
        "DELETE FROM talk_entries WHERE episode IS NULL AND created_at < ?"
        " AND talk IN (SELECT id FROM talks WHERE tenant = ?)",
        (moment, tenant),
    )
    return gone.rowcount


def add_deferred(connection: Connection, one: Deferred) -> None:
    connection.execute(
        "INSERT INTO deferred (id, tenant, alias, state, created_at) VALUES (?,?,?,?,?)",
        (one.id, one.tenant, one.alias, one.state, one.created_at),
    )


def find_deferred(connection: Connection, tenant: str, name: str) -> Deferred | None:
    row = connection.execute("SELECT * FROM deferred WHERE id = ? AND tenant = ?", (name, tenant)).fetchone()
    return _deferred(row) if row else None


def waiting(connection: Connection) -> list[Deferred]:
    return [_deferred(row) for row in connection.execute("SELECT * FROM deferred WHERE state = 'queued'")]


def end_deferred(
    connection: Connection, name: str, state: DeferredState, code: str | None, problem: str | None
) -> None:
    """One whose episode is there is completed, whatever else was to be said of it; what has ended stays as it ended."""
    connection.execute(
        "UPDATE deferred SET state = CASE WHEN id IN (SELECT id FROM episodes) THEN 'completed' ELSE ? END,"
        " code = ?, problem = ? WHERE id = ? AND state = 'queued'",
        (state, code, problem, name),
    )


def drop_deferred(connection: Connection, tenant: str, name: str) -> bool:
    return connection.execute("DELETE FROM deferred WHERE id = ? AND tenant = ?", (name, tenant)).rowcount == 1


def drop_failed(connection: Connection, before: float) -> None:
    """Of those that came to nothing before then."""
    connection.execute("DELETE FROM deferred WHERE state IN ('failed', 'cancelled') AND created_at < ?", (before,))


def _entry(row: Row) -> Entry:
    return Entry(row["id"], msgspec.msgpack.decode(row["body"], type=Message), row["created_at"], row["episode"])


def _deferred(row: Row) -> Deferred:
    return Deferred(
        row["id"], row["tenant"], row["alias"], row["created_at"], row["state"], row["code"], row["problem"]
    )


def _json(value: Mapping[str, str] | list[str]) -> str:
    return msgspec.json.encode(value).decode()
