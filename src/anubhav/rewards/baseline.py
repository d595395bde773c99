"""What reward to expect of an alias: a running mean that takes one small step with each judgement.

It stands in for the group mean where a prompt was answered only once.
"""

from collections.abc import Iterable

from anubhav.rewards.signals import merge
from anubhav.store import experience
from anubhav.store.database import Database
from anubhav.types.experience import Feedback

_RATE = 0.05
_REMEMBERED = 200


class Baselines:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._means: dict[str, float] = {}

    async def observe(self, alias: str, feedback: Iterable[Feedback]) -> float:
        """Take a step for each judged choice; returns the mean after them."""
        mean = await self.expect(alias)
        for reward in merge(feedback).values():
            mean += _RATE * (reward - mean)
        self._means[alias] = mean
        return mean

    async def expect(self, alias: str) -> float:
        """The mean, rebuilt from the store's last judgements after a restart."""
        if alias not in self._means:
            last = await self._database.run(lambda c: experience.feedback_before(c, alias, 1 << 60, _REMEMBERED))
            rewards = merge(reversed(last)).values()
            self._means[alias] = sum(rewards) / len(rewards) if rewards else 0.0
        return self._means[alias]
