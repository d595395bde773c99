"""Shadows: before anybody hears a candidate it answers some of what people ask the release, and both are compared.

One look, after as many pairs as the policy says, decides: nothing has to hold at all times. Failures are held against
each other by the exact sign test of the pairs where only one side failed (McNemar, 1947), the critic's estimates by
Student's interval on their differences, each one-sided at half of `LEVEL`.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, variance

from anubhav.releases.differences import student
from anubhav.store import shadows, trials
from anubhav.store.database import Connection, Database
from anubhav.types.releases import Asked, Pair, Said, Trial

LEVEL = 0.05
LEAST = 6
"""Pairs below which not even a candidate that fails at each would be found out."""
_WAITING = 8
"""Prompts at most that wait for the candidate; under load the oldest go, as a share of the prompts is enough."""
_FEWEST = 3
"""Pairs that the critic read, below which their difference has no interval."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What the pairs say, candidate and release in that order."""

    replies: int
    failed: tuple[int, int]
    """Pairs where only this side failed, said nothing, or was cut at its length."""
    p: float
    """Of the candidate not failing more often."""
    worth: tuple[float, float] | None
    """The critic's estimates, -1 to 1, of the pairs that have both."""
    difference: tuple[float, float, float] | None
    """Of the estimates: mean, low, high."""
    tokens: tuple[float, float]
    pace: tuple[float | None, float | None]
    """Seconds a token after the first. It decides nothing: what runs in the shadow gives way to everybody else."""

    def describe(self) -> str:
        said = f"{self.replies} prompts in the shadow: {self.failed[0]} failed against {self.failed[1]}"
        if self.worth and self.difference:
            away, low, high = self.difference
            said += f", the critic's {self.worth[0]:+.2f} against {self.worth[1]:+.2f}"
            said += f" ({away:+.2f}, 95 % {low:+.2f} to {high:+.2f})"
        return said


class Shadows:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Asked] = deque(maxlen=_WAITING)
        self._came = asyncio.Event()

    def offer(self, asked: Asked) -> None:
        """Somebody was answered by the release. It is kept in memory only, and forgotten if nobody comes for it."""
        self._waiting.append(asked)
        self._came.set()

    async def next(self) -> Asked:
        """The newest prompt that waits."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        return self._waiting.pop()

    async def wanted(self, alias: str) -> Trial | None:
        """The trial that is in the shadow, if any."""
        return await self._database.run(lambda c: _in_shadow(c, alias))

    async def keep(self, trial: Trial, pair: Pair) -> bool:
        """False when the trial is no longer in the shadow, the prompt was counted, or the reply is erased."""

        def work(connection: Connection) -> bool:
            return _in_shadow(connection, trial.alias) == trial and shadows.add(connection, trial.id, pair)

        return await self._database.run(work)

    async def count(self, trial: Trial) -> int:
        """How many prompts it answered."""
        return await self._database.run(lambda c: shadows.count(c, trial.id))

    async def pairs(self, trial: Trial) -> list[Pair]:
        return await self._database.run(lambda c: shadows.of_trial(c, trial.id))


def summarise(pairs: Sequence[Pair]) -> Shadowed:
    only = [(_fell(one.candidate, one.release), _fell(one.release, one.candidate)) for one in pairs]
    mine, others = sum(a and not b for a, b in only), sum(b and not a for a, b in only)
    known = [
        (one.candidate.worth, one.release.worth)
        for one in pairs
        if one.candidate.worth is not None and one.release.worth is not None
    ]
    return Shadowed(
        len(pairs),
        (mine, others),
        _sign_test(mine, mine + others),
        (mean(one for one, _ in known), mean(other for _, other in known)) if known else None,
        _interval([one - other for one, other in known]),
        (_mean(pairs, lambda one: one.candidate.tokens) or 0.0, _mean(pairs, lambda one: one.release.tokens) or 0.0),
        (_mean(pairs, lambda one: one.candidate.pace), _mean(pairs, lambda one: one.release.pace)),
    )


def harm(found: Shadowed, margin: float, *, trusted: bool) -> str:
    """Why the candidate is clearly worse; empty when it is not. Without trust in the critic its estimates say nothing.

    `margin`: how far behind the critic's estimate may be, in rewards.
    """
    if found.p <= LEVEL / 2:
        return f"it fails where the release does not: {found.describe()}"
    if trusted and found.difference and found.difference[2] < -margin:
        return f"the critic expects people to like it less: {found.describe()}"
    return ""


def _in_shadow(connection: Connection, alias: str) -> Trial | None:
    trial = trials.running(connection, alias)
    return trial if trial and trial.step < 0 else None


def _fell(one: Said, other: Said) -> bool:
    """Being cut says something only where the other came to its end."""
    return one.failed or (one.cut and not other.cut and not other.failed)


def _sign_test(won: int, count: int) -> float:
    return sum(math.comb(count, k) for k in range(won, count + 1)) / 2**count


def _interval(differences: Sequence[float]) -> tuple[float, float, float] | None:
    if len(differences) < _FEWEST:
        return None
    middle, count = mean(differences), len(differences)
    room = student(1 - LEVEL / 2, count - 1) * math.sqrt(variance(differences) / count)
    return middle, middle - room, middle + room


def _mean(pairs: Sequence[Pair], of: Callable[[Pair], float | None]) -> float | None:
    found = [value for one in pairs if (value := of(one)) is not None]
    return mean(found) if found else None
