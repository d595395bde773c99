"""Tallies: what people said of the arms of a trial since it came to its step, counted on from where it was left.

The cursor and the counts move in one transaction, so each judgement counts once however often it is looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anubhav.store import experience, tallies
from anubhav.store.database import Connection, Database
from anubhav.store.tallies import Place
from anubhav.types.experience import Arm, Episode, Feedback, split_target
from anubhav.types.releases import Judged, Trial, Vote

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Page:
    """Some feedback of an alias, in the order it came, with the replies it is about."""

    feedback: Sequence[Feedback]
    episodes: Mapping[str, Episode]


@dataclass(frozen=True, slots=True)
class Tally:
    """An arm's people, each with the mean of their replies."""

    people: tuple[Judged, ...]
    replies: int


class Tallies:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def place(self, trial: Trial, unheard: Iterable[str]) -> Place:
        """Where the counting stands. It begins anew with each step, and when other raters are to be left out."""
        names = tuple(sorted(unheard))

        def look(connection: Connection) -> Place:
            found = tallies.find(connection, trial.alias)
            if found and (found.trial, found.since, found.unheard) == (trial.id, trial.since, names):
                return found
            return tallies.begin(connection, trial.alias, trial.id, trial.since, names)

        return await self._database.run(look)

    async def page(self, alias: str, position: int) -> Page:
        """The feedback after a position; none: everything was read."""
        return await self._database.run(lambda c: _page(c, alias, position))

    async def count(self, alias: str, place: Place, votes: Sequence[Vote], to: int) -> bool:
        """False, and nothing is counted, when somebody else counted on from there, or something was erased."""
        return await self._database.run(lambda c: tallies.count(c, alias, place, votes, to))

    async def of(self, alias: str, arm: Arm) -> Tally:
        rows = await self._database.run(lambda c: tallies.people(c, alias, arm))
        return Tally(tuple(Judged(name, 0, (mean,)) for name, mean, _ in rows), sum(count for _, _, count in rows))

    async def start(self, alias: str, since: float) -> int:
        """The position before the first feedback that can be about a reply since then."""
        return await self._database.run(lambda c: tallies.before(c, alias, since))


def _page(connection: Connection, alias: str, position: int) -> Page:
    feedback = experience.feedback_after(connection, alias, position, _PAGE)
    names = {one.episode for one in feedback} | {split_target(one.against)[0] for one in feedback if one.against}
    found = {name: experience.find_episode(connection, name) for name in sorted(names)}
    return Page(feedback, {name: episode for name, episode in found.items() if episode})
