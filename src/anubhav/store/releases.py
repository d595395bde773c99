"""Rows of releases: what each alias answers with, and everything it ever answered with."""

from collections.abc import Mapping

import msgspec

from anubhav.store.connection import Connection, Row
from anubhav.types.experience import Release


def add(connection: Connection, release: Release) -> None:
    """Keep the release; a promotion or a rollback also becomes what the alias answers with."""
    verdict = None if release.verdict is None else msgspec.json.encode(release.verdict).decode()
    connection.execute(
        "INSERT INTO releases (id, alias, path, adapter, action, who, why, lap, verdict, created_at)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            release.id, release.alias, release.path, release.adapter, release.action, release.who, release.why,
            release.lap, verdict, release.created_at,
        ),
    )  # fmt: skip
    if release.action in ("promote", "rollback"):
        connection.execute(
            "INSERT INTO live (alias, release) VALUES (?, ?)"
            " ON CONFLICT (alias) DO UPDATE SET release = excluded.release",
            (release.alias, release.id),
        )


def current(connection: Connection, alias: str) -> Release | None:
    """What the alias answers with; None while nothing was ever released."""
    row = connection.execute(
        "SELECT releases.* FROM live JOIN releases ON releases.id = live.release WHERE live.alias = ?", (alias,)
    ).fetchone()
    return _release(row) if row else None


def history(connection: Connection, alias: str | None, limit: int) -> list[Release]:
    """Newest first."""
    rows = connection.execute(
        "SELECT * FROM releases WHERE alias = coalesce(?, alias) ORDER BY seq DESC LIMIT ?", (alias, limit)
    )
    return [_release(row) for row in rows]


def changes(connection: Connection, alias: str) -> list[Release]:
    """Every promotion and rollback, oldest first."""
    rows = connection.execute(
        "SELECT * FROM releases WHERE alias = ? AND action IN ('promote', 'rollback') ORDER BY seq", (alias,)
    )
    return [_release(row) for row in rows]


def aliases(connection: Connection) -> list[str]:
    """Those that something was released to, or probes were sealed for: either makes an alias of a name."""
    rows = connection.execute("SELECT alias FROM live UNION SELECT alias FROM probes WHERE alias <> '' ORDER BY alias")
    return [row["alias"] for row in rows]


def owner(connection: Connection, path: str) -> str:
    """The tenant a checkpoint belongs to; empty when there is no such checkpoint."""
    row = connection.execute("SELECT tenant FROM checkpoints WHERE path = ?", (path,)).fetchone()
    return row["tenant"] if row else ""


def _release(row: Row) -> Release:
    verdict: Mapping[str, object] | None = msgspec.json.decode(row["verdict"]) if row["verdict"] else None
    return Release(
        row["id"],
        row["alias"],
        row["path"],
        row["adapter"],
        row["action"],
        row["who"],
        row["why"],
        row["created_at"],
        row["lap"],
        verdict,
    )
