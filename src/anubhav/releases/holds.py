"""The hold on learning: while it stands no lap begins, whoever asks, and those that run rest. It outlives a restart."""

import time

from anubhav.errors import BadInput
from anubhav.store import looking
from anubhav.store.database import Database
from anubhav.types.looking import Hold

_LEARNING = "learning"


class Holds:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self) -> Hold | None:
        return await self._database.run(lambda c: looking.hold(c, _LEARNING))

    async def set(self, who: str, why: str) -> None:
        """The one who asked first stays named."""
        hold = Hold(who, why, time.time())
        await self._database.run(lambda c: looking.put_hold(c, _LEARNING, hold))

    async def lift(self) -> None:
        await self._database.run(lambda c: looking.put_hold(c, _LEARNING, None))

    async def check(self) -> None:
        """Raises BadInput while learning is on hold."""
        if hold := await self.standing():
            raise BadInput(
                f"Learning is paused by {hold.who}: {hold.why or 'no reason was given'}",
                hint="Let it go on with `anubhav lap unhold`, or on the console.",
            )
