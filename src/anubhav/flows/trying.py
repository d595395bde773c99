"""Trying: a candidate that passed the gate is released, or answers in the shadow and is then heard by a growing share
of people, compared live.

After each judgement the trial is looked at: it goes back by itself when the candidate is worse beyond chance, fails
more often or is much slower, and on to the next step when enough people judged it and it is not behind by more than
the margin.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

from anubhav.errors import NotFound
from anubhav.flows.counting import catch_up, quarantined, read_all
from anubhav.flows.house import House
from anubhav.flows.rollouts import doubt
from anubhav.learning.presets import Rollouts
from anubhav.releases.differences import FEWEST, lift, watch, watch_rates
from anubhav.releases.shadows import harm, summarise
from anubhav.releases.tallies import Tally
from anubhav.releases.trials import SHADOW
from anubhav.types.experience import Release, Verdict
from anubhav.types.releases import Difference, Judged, Rate, Trial

_TENANT = "anubhav"
_BY_ITSELF = "anubhav"
_SLOWER, _PATIENCE = 3.0, 1.0
"""A candidate whose first words take so many times as long, and at least so many seconds more, is taken back."""
_TIMED = 20
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lift:
    """What learning brought: people who hear the release against those who are answered by the frozen base."""

    alias: str
    holdback: int
    since: float
    overall: Difference | None
    days: tuple[tuple[int, Difference], ...]
    """(days since 1970, difference) of the days with enough people on both sides."""
    why: str
    """Why there is no figure; empty when there is one."""


async def choose_action(house: House, alias: str, verdict: Verdict) -> Literal["promote", "try", "discard"]:
    """What a verdict does to a candidate: by default a pass is a release."""
    if verdict.outcome != "pass":
        return "discard"
    steps = (await house.trials.policy(alias)).steps
    return "try" if steps and steps[0] < 100 else "promote"


async def review(house: House, alias: str) -> Trial | None:
    """Look at the alias's trial, and take it on or back; returns it as it is then, None when there is none."""
    trial = await house.trials.running(alias)
    if trial is None:
        return None
    why, on = await (_from_shadow if trial.step == SHADOW else _from_canary)(house, trial)
    if why:
        await house.trials.give_up(alias, _BY_ITSELF, why, trial.id)
        await let_go(house, alias)
    elif on and await house.trials.advance(trial, on):
        await let_go(house, alias)
    return await house.trials.running(alias)


async def _from_shadow(house: House, trial: Trial) -> tuple[str, str]:
    """Why it goes back, and why it goes on; both empty while it waits."""
    policy = await house.trials.policy(trial.alias)
    if await house.trials.shadows.count(trial) < policy.shadow:
        return "", ""
    found, doubtful = summarise(await house.trials.shadows.pairs(trial)), await doubt(house, trial.alias, Rollouts())
    return harm(found, policy.margin, trusted=doubtful is None), found.describe()


async def _from_canary(house: House, trial: Trial) -> tuple[str, str]:
    # What needs no critic first: with a dead engine, too, what fails or is slow goes back.
    if why := await _slow(house, trial) or await _fails(house, trial):
        return why, ""
    found, policy = await compare(house, trial), await house.trials.policy(trial.alias)
    enough = found.people >= policy.least_people and found.candidate.replies >= policy.least_replies
    return _harm(found, policy.margin), found.describe() if enough and found.away >= -policy.margin else ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate and release since a trial came to its step."""

    candidate: Tally
    release: Tally
    difference: Difference | None
    rates: tuple[Rate, Rate]
    """Of replies that ended in an error."""

    @property
    def people(self) -> int:
        """Who judged, on the side with fewer."""
        return min(len(self.candidate.people), len(self.release.people))

    @property
    def away(self) -> float:
        return self.difference.difference if self.difference else float("-inf")

    def describe(self) -> str:
        if self.difference is None:
            return "too few people judged both"
        one = self.difference
        return (
            f"{one.means[0]:+.2f} against {one.means[1]:+.2f} of {one.people[0]} and {one.people[1]} people"
            f" ({one.difference:+.2f}, always valid 95 % {one.low:+.2f} to {one.high:+.2f})"
        )


async def compare(house: House, trial: Trial) -> Comparison:
    """By people who judged a reply since the trial came to its step, and by the replies that failed."""
    await catch_up(house.trials.tallies, trial, await quarantined(house, trial.alias))
    candidate = await house.trials.tallies.of(trial.alias, "canary")
    release = await house.trials.tallies.of(trial.alias, "stable")
    difference = watch(candidate.people, release.people)
    return Comparison(candidate, release, difference, await house.trials.rates(trial))


def _harm(found: Comparison, margin: float) -> str:
    worse = found.difference is not None and found.difference.high < -margin
    return f"people like it less: {found.describe()}" if worse else ""


async def _fails(house: House, trial: Trial) -> str:
    mine, others = await house.trials.rates(trial)
    found = watch_rates(mine, others)
    if found is None or found.low <= 0:
        return ""
    return f"{mine.failed} of its {mine.replies} replies failed, {others.failed} of the release's {others.replies}"


async def _slow(house: House, trial: Trial) -> str:
    mine = await house.trials.waits(trial.alias, "canary", trial.since)
    others = await house.trials.waits(trial.alias, "stable", trial.since)
    if min(len(mine), len(others)) < _TIMED:
        return ""
    slow, usual = median(mine), median(others)
    if slow > _SLOWER * usual and slow - usual > _PATIENCE:
        return f"its first word takes {slow:.1f} s, the release's {usual:.1f} s"
    return ""


async def roll_back(house: House, alias: str, who: str, why: str, to: str | None = None) -> Release:
    """One step back from what is newest: a candidate that is tried out, else the release. No trainer is asked."""
    if to is None and (ended := await house.trials.give_up(alias, who, why)):
        return ended
    return await house.register.rollback(alias, who, why, to)


async def measure_lift(house: House, alias: str) -> Lift:
    """Since the share held back was last changed."""
    policy = await house.trials.policy(alias)
    if not policy.holdback:
        return Lift(alias, 0, 0.0, None, (), "nobody is held back: set a share to measure lift against")
    said = await read_all(house, alias, policy.since)
    ours, theirs = said["stable"], said["holdback"]
    overall = lift(ours, theirs)
    days = sorted({one.day for one in (*ours, *theirs)})
    by_day = [(day, lift(_on(day, ours), _on(day, theirs))) for day in days]
    why = "" if overall else f"fewer than {FEWEST} people judged a reply on one of the sides"
    return Lift(alias, policy.holdback, policy.since, overall, tuple((d, one) for d, one in by_day if one), why)


def lift_json(found: Lift) -> dict[str, object]:
    return asdict(found)


def _on(day: int, judged: Iterable[Judged]) -> list[Judged]:
    return [one for one in judged if one.day == day]


async def let_go(house: House, alias: str) -> None:
    """Remove the checkpoints of releases that nobody can go back to."""
    for path in await house.register.dispensable(alias):
        try:
            await house.desk.checkpoints.delete(_TENANT, path)
        except NotFound:
            log.info("%s was gone already", path)
