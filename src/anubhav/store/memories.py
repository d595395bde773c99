"""Rows of memories: what is remembered of a session or a user, how far it was heard, and the ledger of decisions."""

from collections.abc import Iterable, Sequence

import msgspec

from anubhav.store.connection import Connection, Row
from anubhav.types.memory import Decision, Memory
from anubhav.types.remembering import Heard, LedgerFilter, LedgerLine, Shelved

LEDGER = 10_000
"""Lines kept of a memory's ledger; older ones go."""


def find(connection: Connection, tenant: str, scope: str, key: str) -> Shelved | None:
    row = connection.execute(
        "SELECT * FROM memories WHERE tenant = ? AND scope = ? AND key = ?", (tenant, scope, key)
    ).fetchone()
    return _shelved(row) if row else None


def find_by_id(connection: Connection, tenant: str | None, memory: str) -> Shelved | None:
    """Whatever its tenant when `tenant` is None."""
    row = connection.execute(
        "SELECT * FROM memories WHERE id = ? AND tenant = coalesce(?, tenant)", (memory, tenant)
    ).fetchone()
    return _shelved(row) if row else None


def list_of(
    connection: Connection, tenant: str | None, session: str | None, user: str | None, limit: int
) -> list[Shelved]:
    """The last changed first. `user`: theirs, and those of sessions they spoke in."""
    rows = connection.execute(
        "SELECT * FROM memories WHERE tenant = coalesce(:tenant, tenant)"
        " AND (:session IS NULL OR (scope = 'session' AND key = :session))"
        " AND (:user IS NULL OR user = :user OR (scope = 'user' AND key = :user))"
        " ORDER BY updated_at DESC, id LIMIT :limit",
        {"tenant": tenant, "session": session, "user": user, "limit": limit},
    )
    return [_shelved(row) for row in rows]


def keep(connection: Connection, now: Shelved, expected: int | None) -> bool:
    """Keep it if version `expected` is what is there (None: nothing is); False when somebody else was first."""
    body = msgspec.json.encode(now.memory)
    version = now.memory.version
    if expected is None:
        done = connection.execute(
            "INSERT INTO memories (id, tenant, scope, key, user, base_model, budget, version, body,"
            " oldest, created_at, updated_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (
                now.id, now.tenant, now.scope, now.key, now.user, now.base_model, now.budget, version, body,
                _oldest(now.memory), now.created_at, now.updated_at,
            ),
        )  # fmt: skip
    else:
        done = connection.execute(
            "UPDATE memories SET user = coalesce(?, user), base_model = ?, budget = ?, version = ?, body = ?,"
            " oldest = ?, updated_at = ? WHERE id = ? AND version = ?",
            (
                now.user, now.base_model, now.budget, version, body, _oldest(now.memory), now.updated_at, now.id,
                expected,
            ),
        )  # fmt: skip
    return done.rowcount == 1


def heard(connection: Connection, memory: str, session: str) -> Heard:
    row = connection.execute(
        "SELECT * FROM memory_heard WHERE memory = ? AND session = ?", (memory, session)
    ).fetchone()
    return Heard(row["messages"], row["asked"], row["answered"], row["first"]) if row else Heard()


def put_heard(connection: Connection, memory: str, session: str, found: Heard) -> None:
    connection.execute(
        "INSERT INTO memory_heard (memory, session, messages, asked, answered, first) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT (memory, session) DO UPDATE SET messages = excluded.messages, asked = excluded.asked,"
        " answered = excluded.answered, first = excluded.first",
        (memory, session, found.messages, found.asked, found.answered, found.first),
    )


def add_lines(
    connection: Connection,
    memory: str,
    version: int,
    decisions: Iterable[Decision],
    episode: str | None,
    now: float,
) -> None:
    """The oldest beyond LEDGER go."""
    connection.executemany(
        "INSERT INTO memory_ledger (memory, version, chunk, act, body, episode, created_at) VALUES (?,?,?,?,?,?,?)",
        [(memory, version, one.chunk, one.act, msgspec.json.encode(one), episode, now) for one in decisions],
    )
    connection.execute(
        "DELETE FROM memory_ledger WHERE memory = ? AND seq <= (SELECT seq FROM memory_ledger WHERE memory = ?"
        " ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        (memory, memory, LEDGER),
    )


def lines(connection: Connection, memory: str, which: LedgerFilter, before: int | None, limit: int) -> list[LedgerLine]:
    """Newest first, those older than the line `before`."""
    rows = connection.execute(
        "SELECT * FROM memory_ledger WHERE memory = :memory AND (:before IS NULL OR seq < :before)"
        " AND (:episode IS NULL OR episode = :episode) AND (:chunk IS NULL OR chunk = :chunk)"
        " AND (:act IS NULL OR act = :act) ORDER BY seq DESC LIMIT :limit",
        {
            "memory": memory, "before": before, "episode": which.episode, "chunk": which.chunk, "act": which.act,
            "limit": limit,
        },
    )  # fmt: skip
    return [_line(row) for row in rows]


def reword_lines(connection: Connection, changed: Sequence[tuple[int, Decision]]) -> None:
    """Other words for lines of a ledger, by their seq."""
    connection.executemany(
        "UPDATE memory_ledger SET body = ? WHERE seq = ?",
        [(msgspec.json.encode(decision), seq) for seq, decision in changed],
    )


def drop(connection: Connection, memories: Iterable[str]) -> int:
    """With all that is known of them; returns how many there were."""
    gone = 0
    for name in memories:
        connection.execute("DELETE FROM memory_ledger WHERE memory = ?", (name,))
        connection.execute("DELETE FROM memory_heard WHERE memory = ?", (name,))
        gone += connection.execute("DELETE FROM memories WHERE id = ?", (name,)).rowcount
    return gone


def of_person(connection: Connection, tenant: str, user: str) -> list[str]:
    """Their own, and those of every session in which they said something."""
    rows = connection.execute(
        "SELECT id FROM memories WHERE tenant = :tenant AND ((scope = 'user' AND key = :user) OR (scope = 'session'"
        " AND (user = :user OR key IN (SELECT session FROM episodes WHERE tenant = :tenant AND user = :user))))",
        {"tenant": tenant, "user": user},
    )
    return [row["id"] for row in rows]


def seen_by(connection: Connection, memories: Iterable[str]) -> list[str]:
    """The episodes that had any of these in their prompts."""
    # `<id>@<version>`: all of an id lie between `<id>@` and `<id>A`.
    return [
        row["id"]
        for name in memories
        for row in connection.execute(
            "SELECT id FROM episodes WHERE memory > ? AND memory < ?", (f"{name}@", f"{name}A")
        )
    ]


def stale(connection: Connection, tenant: str, moment: float, limit: int) -> list[Shelved]:
    """Those with something unpinned that was said before then."""
    rows = connection.execute("SELECT * FROM memories WHERE tenant = ? AND oldest < ? LIMIT ?", (tenant, moment, limit))
    return [_shelved(row) for row in rows]


def drop_lines_before(connection: Connection, tenant: str, moment: float) -> int:
    return connection.execute(
        "DELETE FROM memory_ledger WHERE created_at < ? AND memory IN (SELECT id FROM memories WHERE tenant = ?)",
        (moment, tenant),
    ).rowcount


def _oldest(memory: Memory) -> float | None:
    return min((chunk.at for chunk in memory.chunks if chunk.pin != "client"), default=None)


def _shelved(row: Row) -> Shelved:
    return Shelved(
        row["id"], row["tenant"], row["scope"], row["key"], row["user"], row["base_model"], row["budget"],
        row["created_at"], row["updated_at"], msgspec.json.decode(row["body"], type=Memory),
    )  # fmt: skip


def _line(row: Row) -> LedgerLine:
    decision = msgspec.json.decode(row["body"], type=Decision)
    return LedgerLine(row["seq"], row["version"], row["episode"], row["created_at"], decision)
