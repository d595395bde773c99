"""Trust: what each piece of feedback may weigh in an update, from how its rater stands and how much one may move."""

from collections.abc import Mapping, Sequence

from anubhav.rewards.critic import Critic
from anubhav.rewards.votes import WEIGHTS, key_of, rater_of
from anubhav.store import experience
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Feedback
from anubhav.types.rewards import Mark, Rater


class Trust:
    def __init__(self, database: Database, critic: Critic) -> None:
        self._database, self._critic = database, critic

    async def weigh(self, alias: str, feedback: Sequence[Feedback]) -> Mapping[str, float]:
        """Feedback id → 0 to 1, for one update made of all of it.

        0 for the quarantined, for what the same rater replaced later, and for what held-out raters said, unless it is
        a correction: that teaches nobody what is liked.
        """
        users = await self._database.run(lambda c: _users(c, feedback))
        ledger = await self._critic.ledger(alias)
        raters = {one.id: rater_of(one, users.get(one.episode)) for one in feedback}
        last = {key_of(one, raters[one.id]): one.id for one in feedback}
        weights: dict[str, float] = {}
        for one in feedback:
            name = raters[one.id]
            standing = ledger.raters.get(name)
            held = standing is not None and standing.held and one.kind != "correction"
            counts = not held and last[key_of(one, name)] == one.id
            weights[one.id] = ledger.trust(name) * WEIGHTS[one.source] if counts else 0.0
        masses: dict[str, float] = {}
        for name_of, weight in weights.items():
            masses[raters[name_of]] = masses.get(raters[name_of], 0.0) + weight
        kept = ledger.capped({name: mass for name, mass in masses.items() if mass > 0})
        return {name: weight * kept.get(raters[name], 1.0) for name, weight in weights.items()}

    async def raters(self, alias: str) -> list[Rater]:
        return (await self._critic.ledger(alias)).list()

    async def mark(self, rater: str, mark: Mark | None) -> None:
        """Trusted or quarantined by an operator's word; None leaves it to the record again."""
        await self._critic.mark(rater, mark)


def _users(connection: Connection, feedback: Sequence[Feedback]) -> dict[str, str | None]:
    """Whom each nameless judgement's episode belongs to."""
    names = {one.episode for one in feedback if one.rater is None}
    found = {name: experience.find_episode(connection, name) for name in sorted(names)}
    return {name: episode.user for name, episode in found.items() if episode}
