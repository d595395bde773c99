"""The register of releases. A promotion needs a verdict; going back never does."""

import sqlite3
import time

from anubhav.errors import BadInput
from anubhav.store import experience, releases
from anubhav.store.database import Database
from anubhav.types.experience import Lap, Release
from anubhav.types.ids import new_id


class Register:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self, alias: str) -> Release | None:
        """What the alias answers with; None: the bare base model, nothing was ever released."""
        return await self._database.run(lambda c: releases.current(c, alias))

    async def history(self, alias: str | None = None, limit: int = 50) -> list[Release]:
        """Newest first."""
        return await self._database.run(lambda c: releases.history(c, alias, limit))

    async def aliases(self) -> list[str]:
        return await self._database.run(releases.aliases)

    async def settle(self, release: Release, lap: Lap, evidence: str, cursor: tuple[str, int] | None) -> None:
        """The release, the finished lap with its evidence, and the (stage, position) it has read: all or nothing."""

        def work(connection: sqlite3.Connection) -> None:
            releases.add(connection, release)
            experience.put_lap(connection, lap, evidence)
            if cursor:
                experience.advance(connection, cursor[0], release.alias, cursor[1])

        await self._database.run(work)

    async def rollback(self, alias: str, who: str, why: str) -> Release:
        """Answer with what came before the present release, from the next request on. BadInput: nothing came before."""
        return await self._database.run(lambda c: _roll_back(c, alias, who, why))


def _roll_back(connection: sqlite3.Connection, alias: str, who: str, why: str) -> Release:
    now = releases.current(connection, alias)
    if now is None or now.path is None:
        raise BadInput(f"{alias} answers with its base model already", hint="There is nothing to go back to.")
    promoted = [one for one in releases.history(connection, alias, 10_000) if one.action == "promote"]
    # Several steps back in a row must not swing between the two newest: go below the one that is live.
    place = next(place for place, one in enumerate(promoted) if one.path == now.path)
    before = promoted[place + 1] if place + 1 < len(promoted) else None
    release = Release(
        new_id("rel"),
        alias,
        before.path if before else None,
        before.adapter if before else None,
        "rollback",
        who,
        why,
        time.time(),
    )
    releases.add(connection, release)
    return release
