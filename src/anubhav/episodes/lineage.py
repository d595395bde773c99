"""Lineage: what each lap had in its hands, so that any answer leads back to the people it was learned from, and on."""

from collections.abc import Iterable

from anubhav.errors import NotFound
from anubhav.store import lineage
from anubhav.store.database import Database
from anubhav.types.people import Trace, Use


class Lineage:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def used(self, lap: str, rows: Iterable[tuple[str, int, str | None, str, int]]) -> None:
        """Keep what a lap used, each as `types.people.Use` has it; the same row again is one row."""
        kept = [Use(*row) for row in rows]
        await self._database.run(lambda c: lineage.add(c, lap, kept))

    async def trace(self, name: str) -> Trace:
        """Of a reply (`ep_…`), feedback, lap, release or adapter, or of `rater:NAME` or `user:NAME`, where NAME may
        begin with its tenant and a slash. Raises NotFound for what is not here."""
        found = await self._database.run(lambda c: lineage.trace(c, name))
        if found is None:
            raise NotFound(
                f"There is no {name[:100]!r} to trace", hint="Name a reply, feedback, lap, release, or rater:NAME."
            )
        return found

    async def taught_on(self, episodes: Iterable[str]) -> list[dict[str, object]]:
        """The laps that had any of these in their hands, and those that went on from what they made: their adapters,
        checkpoints and releases."""
        names = list(episodes)
        return await self._database.run(lambda c: lineage.taught_on(c, names))
