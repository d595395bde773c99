"""Rows of quotas, one a tenant, and what of them is used. No rule lives here.

Tokens are summed by day as they are used: the journal could be added up too, but not for every request.
"""

from anubhav.store.connection import Connection
from anubhav.types.quotas import Quota, Use, today


def find(connection: Connection, tenant: str) -> Quota:
    """Without limits unless some were set."""
    row = connection.execute("SELECT * FROM quotas WHERE tenant = ?", (tenant,)).fetchone()
    return Quota(row["tokens_a_day"], row["runs"], row["storage_bytes"], row["queue"]) if row else Quota()


def keep(connection: Connection, tenant: str, quota: Quota) -> None:
    """In place of the tenant's earlier one."""
    connection.execute(
        "INSERT INTO quotas (tenant, tokens_a_day, runs, storage_bytes, queue) VALUES (?,?,?,?,?)"
        " ON CONFLICT (tenant) DO UPDATE SET tokens_a_day = excluded.tokens_a_day, runs = excluded.runs,"
        " storage_bytes = excluded.storage_bytes, queue = excluded.queue",
        (tenant, quota.tokens_a_day, quota.runs, quota.storage_bytes, quota.queue),
    )


def spend(connection: Connection, tenant: str, tokens: int) -> None:
    connection.execute(
        "INSERT INTO spent (tenant, day, tokens) VALUES (?,?,?)"
        " ON CONFLICT (tenant, day) DO UPDATE SET tokens = spent.tokens + excluded.tokens",
        (tenant, today(), tokens),
    )


def tokens_by_day(connection: Connection, tenant: str, since: int) -> list[tuple[int, int]]:
    """(day, tokens) from the day `since` on."""
    rows = connection.execute("SELECT day, tokens FROM spent WHERE tenant = ? AND day >= ?", (tenant, since))
    return [(row["day"], row["tokens"]) for row in rows]


def tokens_today(connection: Connection, tenant: str) -> int:
    row = connection.execute("SELECT tokens FROM spent WHERE tenant = ? AND day = ?", (tenant, today())).fetchone()
    return row["tokens"] if row else 0


def open_runs(connection: Connection, tenant: str) -> int:
    """Those that can be trained: not copies, imports and blends."""
    query = "SELECT count(*) AS found FROM runs WHERE tenant = ? AND ended = 0 AND source IS NULL"
    return connection.execute(query, (tenant,)).fetchone()["found"]


def stored_bytes(connection: Connection, tenant: str) -> int:
    """Of checkpoints and of uploaded files."""
    return sum(
        connection.execute(
            f"SELECT coalesce(sum(size_bytes), 0) AS found FROM {table} WHERE tenant = ?", (tenant,)
        ).fetchone()["found"]
        for table in ("checkpoints", "uploads")
    )


def waiting(connection: Connection, tenant: str) -> int:
    """Operations that are acknowledged and have no outcome."""
    query = (
        "SELECT count(*) AS found FROM ops JOIN runs ON runs.id = ops.run"
        " WHERE ops.state = 'pending' AND ops.kind != 'Void' AND runs.tenant = ?"
    )
    return connection.execute(query, (tenant,)).fetchone()["found"]


def use(connection: Connection, tenant: str) -> Use:
    return Use(
        tokens_today(connection, tenant),
        open_runs(connection, tenant),
        stored_bytes(connection, tenant),
        waiting(connection, tenant),
    )
