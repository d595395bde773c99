"""The register of releases. A promotion needs a verdict; going back never does."""

import time

from anubhav.errors import BadInput
from anubhav.store import experience, releases
from anubhav.store.database import Connection, Database
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

    async def standing(self, alias: str) -> list[Release]:
        """The promotions that led to what is live, oldest first: those that were rolled back are not among them."""
        return await self._database.run(lambda c: _standing(c, alias))

    async def settle(self, release: Release, lap: Lap, evidence: str, cursor: tuple[str, int] | None) -> None:
        """The release, the finished lap with its evidence, and the (stage, position) it has read: all or nothing."""

        def work(connection: Connection) -> None:
            releases.add(connection, release)
            experience.put_lap(connection, lap, evidence)
            if cursor:
                experience.advance(connection, cursor[0], release.alias, cursor[1])

        await self._database.run(work)

    async def rollback(self, alias: str, who: str, why: str) -> Release:
        """Answer with what came before the present release, from the next request on. BadInput: nothing came before."""
        return await self._database.run(lambda c: _roll_back(c, alias, who, why))


def _standing(connection: Connection, alias: str) -> list[Release]:
    standing: list[Release] = []
    for change in releases.changes(connection, alias):
        if change.action == "promote":
            standing.append(change)
        else:
            standing.pop()
    return standing


def _roll_back(connection: Connection, alias: str, who: str, why: str) -> Release:
    standing = _standing(connection, alias)
    if not standing:
        raise BadInput(f"{alias} answers with its base model already", hint="There is nothing to go back to.")
    path, adapter = (standing[-2].path, standing[-2].adapter) if len(standing) > 1 else (None, None)
    release = Release(new_id("rel"), alias, path, adapter, "rollback", who, why, time.time())
    releases.add(connection, release)
    return release
