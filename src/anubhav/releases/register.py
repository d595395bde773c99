"""The register of releases. A promotion needs a verdict; going back never does."""

import time

from anubhav.errors import BadInput
from anubhav.releases import trials
from anubhav.store import experience, releases
from anubhav.store import trials as trial_rows
from anubhav.store.database import Connection, Database
from anubhav.telemetry.metrics import count_release
from anubhav.types.experience import Lap, Release
from anubhav.types.ids import new_id

KEPT = 10
"""Releases of an alias that can be gone back to."""
_LINGER = 3600.0
"""Seconds that a candidate's checkpoint outlives its trial: a reply may just have begun with it."""


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
        """The release, the finished lap with its evidence, and the (stage, position) it has read: all or nothing.

        A release whose action is `try` begins a trial; that and a promotion end the one before.
        """

        def work(connection: Connection) -> None:
            releases.add(connection, release)
            if release.action == "try":
                trials.begin(connection, release)
            elif release.action == "promote":
                trials.end(connection, release.alias, release.who, f"{release.lap} was released", "replaced")
            experience.put_lap(connection, lap, evidence)
            if cursor:
                experience.advance(connection, cursor[0], release.alias, cursor[1])

        await self._database.run(work)
        count_release(release.action)

    async def rollback(self, alias: str, who: str, why: str, to: str | None = None) -> Release:
        """Answer with what came before the present release, or with the release `to`, from the next request on.

        Raises BadInput when nothing came before, when `to` is none of the releases that led here, or when its
        checkpoint is gone; then nothing is changed. What is tried out is given up too. No trainer is asked.
        """
        release = await self._database.run(lambda c: _roll_back(c, alias, who, why, to))
        count_release(release.action)
        return release

    async def dispensable(self, alias: str, kept: int = KEPT) -> list[str]:
        """Checkpoints of releases that nobody can go back to: older than the newest `kept`, and not what is live.

        And those of candidates whose trial was given up a while ago.
        """
        return await self._database.run(lambda c: _dispensable(c, alias, kept))


def _standing(connection: Connection, alias: str) -> list[Release]:
    standing: list[Release] = []
    for change in releases.changes(connection, alias):
        if change.action == "promote":
            standing.append(change)
        else:
            standing.pop()
    return standing


def _roll_back(connection: Connection, alias: str, who: str, why: str, to: str | None) -> Release:
    standing = _standing(connection, alias)
    if not standing:
        raise BadInput(f"{alias} answers with its base model already", hint="There is nothing to go back to.")
    back = 1 if to is None else next((away for away, one in enumerate(reversed(standing)) if one.id == to), 0)
    if not back:
        raise BadInput(f"{to} is no earlier release of {alias}", hint="`anubhav releases` lists them.")
    target = standing[-1 - back] if len(standing) > back else None
    if target and target.path and not releases.owner(connection, target.path):
        raise BadInput(
            f"The checkpoint of {target.id} is gone; the newest {KEPT} are kept",
            hint="Go back to a newer one with --to.",
        )
    trials.end(connection, alias, who, why)
    now = [
        Release(new_id("rel"), alias, one and one.path, one and one.adapter, "rollback", who, why, time.time())
        for one in reversed([None, *standing][-1 - back : -1])
    ]
    for release in now:
        releases.add(connection, release)
    return now[-1]


def _dispensable(connection: Connection, alias: str, kept: int) -> list[str]:
    promoted = [one.path for one in releases.changes(connection, alias) if one.action == "promote" and one.path]
    live = releases.current(connection, alias)
    wanted = {*promoted[-kept:], *(one.path for one in _standing(connection, alias)[-kept:])}
    wanted |= {live.path} if live else set()
    if trial := trial_rows.running(connection, alias):
        wanted.add(trial.path)
    dropped = trial_rows.dropped(connection, alias, time.time() - _LINGER)
    unwanted = [path for path in dict.fromkeys([*promoted, *dropped]) if path not in wanted]
    return [path for path in unwanted if releases.owner(connection, path)]
