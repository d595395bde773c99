"""Rows of checkpoints as people look at them: a page at a time, what answers with one, which runs began with one."""

import time
from collections.abc import Sequence

from anubhav.store.checkpoints import THERE, read_checkpoint
from anubhav.store.connection import Connection
from anubhav.types.checkpoints import Checkpoint

_AMONG = 500
"""The newest runs, which are looked at for those that began with a checkpoint."""
_BIRTH = "SELECT run, kind, body FROM ops WHERE seq < 2 AND kind = 'Load' AND run"


def page(connection: Connection, tenant: str | None, before: int | None, limit: int) -> list[tuple[int, Checkpoint]]:
    """Saved last first, each with its position; every tenant's when `tenant` is None."""
    rows = connection.execute(
        f"SELECT rowid AS position, * FROM checkpoints WHERE rowid < ? AND tenant = coalesce(?, tenant) AND {THERE}"
        " ORDER BY rowid DESC LIMIT ?",
        (before or 1 << 62, tenant, time.time(), limit),
    )
    return [(row["position"], read_checkpoint(row)) for row in rows]


def of_run(connection: Connection, run: str) -> list[Checkpoint]:
    """Oldest first."""
    query = f"SELECT * FROM checkpoints WHERE run = ? AND {THERE} ORDER BY created_at"
    rows = connection.execute(query, (run, time.time()))
    return [read_checkpoint(row) for row in rows]


def answering(connection: Connection) -> list[tuple[str, str]]:
    """(path, alias) of everything that is live."""
    rows = connection.execute(
        "SELECT releases.path, live.alias FROM live JOIN releases ON releases.id = live.release"
        " WHERE releases.path IS NOT NULL ORDER BY live.alias"
    )
    return [(row["path"], row["alias"]) for row in rows]


def births(connection: Connection, runs: Sequence[str]) -> list[tuple[str, str, bytes]]:
    """(run, kind, body) of the first loading of each that began with one."""
    if not runs:
        return []
    marks = ",".join("?" * len(runs))
    rows = connection.execute(f"{_BIRTH} IN ({marks}) ORDER BY seq DESC", tuple(runs))
    return [tuple(row) for row in rows]


def late_births(connection: Connection) -> list[tuple[str, str, bytes]]:
    """Of the newest runs."""
    rows = connection.execute(f"{_BIRTH} IN (SELECT id FROM runs ORDER BY rowid DESC LIMIT ?)", (_AMONG,))
    return [tuple(row) for row in rows]


def source(connection: Connection, run: str) -> str | None:
    """What a run that cannot be trained holds a copy of, or in a word what it holds."""
    row = connection.execute("SELECT source FROM runs WHERE id = ?", (run,)).fetchone()
    return row["source"] if row else None
