"""Hearsay: votes that no person gave. Judges' and what a next turn implies, kept as feedback with their source."""

import hashlib
import time
from collections.abc import Sequence

import msgspec

from anubhav.store import beliefs, experience
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Episode, Feedback


class Hearsay:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def implied(self, episode: Episode, value: float, user: str | None) -> Feedback | None:
        """The next turn's hint on the answer before it; one an answer, the first."""
        vote = Feedback(
            f"implied_{episode.id}", episode.tenant, episode.id, 0, "thumb", time.time(), value, rater=user,
            source="implied",
        )  # fmt: skip
        return await self._database.run(lambda c: vote if _add(c, vote, episode.alias) else None)

    async def scored(self, judge: str, episode: Episode, choice: int, value: float) -> Feedback | None:
        """A judge's score, 0 to 1; a judge has one vote on a choice."""
        name = f"judge_{judge}_{episode.id}:{choice}"
        vote = Feedback(
            name, episode.tenant, episode.id, choice, "rating", time.time(), value, rater=f"judge:{judge}",
            source="judge",
        )  # fmt: skip
        return await self._database.run(lambda c: vote if _add(c, vote, episode.alias) else None)

    async def preferred(self, judge: str, episode: Episode, winner: int, loser: int) -> Feedback | None:
        """A judge's choice between two answers of one episode."""
        low, high = sorted((winner, loser))
        vote = Feedback(
            f"judge_{judge}_{episode.id}:{low}:{high}", episode.tenant, episode.id, winner, "comparison", time.time(),
            against=f"{episode.id}:{loser}", rater=f"judge:{judge}", source="judge",
        )  # fmt: skip
        return await self._database.run(lambda c: vote if _add(c, vote, episode.alias) else None)

    async def before(self, tenant: str, session: str, said: str) -> Episode | None:
        """The session's episode that answered with this text."""
        return await self._database.run(lambda c: beliefs.said(c, tenant, session, said))

    async def implies(self, alias: str) -> bool:
        """Whether next turns count for this alias; they do not until an operator says so."""
        return await self._database.run(lambda c: beliefs.implies(c, alias))

    async def set_implies(self, alias: str, *, implied: bool) -> None:
        await self._database.run(lambda c: beliefs.set_implies(c, alias, implied=implied))

    async def judged(self, alias: str, limit: int) -> Sequence[Episode]:
        """The last answers of an alias that may be judged, newest first."""
        return await self._database.run(lambda c: beliefs.answers(c, alias, limit))


def _add(connection: Connection, vote: Feedback, alias: str) -> bool:
    """False when it was given before."""
    if experience.find_feedback(connection, vote.tenant, vote.id):
        return False
    digest = hashlib.sha256(msgspec.json.encode(vote)).hexdigest()
    experience.add_feedback(connection, vote, alias, digest)
    return True
