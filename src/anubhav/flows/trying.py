"""Trying: a candidate that passed the gate is released, or heard by a growing share of people and compared live.

After each judgement the trial is looked at: it goes back by itself when the candidate is worse beyond chance or much
slower, and on to the next step when enough people judged it and it is not behind by more than the margin.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

from anubhav.errors import NotFound
from anubhav.flows.house import House
from anubhav.releases.differences import FEWEST, lift, people_means, watch
from anubhav.rewards.signals import merge
from anubhav.rewards.votes import rater_of
from anubhav.types.experience import Arm, Episode, Feedback, Release, Verdict
from anubhav.types.releases import Difference, Judged, Trial

_TENANT = "anubhav"
_BY_ITSELF = "anubhav"
_DAY = 86_400
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
    found, policy = await compare(house, trial), await house.trials.policy(alias)
    if why := await _slow(house, trial) or _harm(found, policy.margin):
        await house.trials.give_up(alias, _BY_ITSELF, why, trial.id)
        await let_go(house, alias)
    else:
        replies = sum(len(one.rewards) for one in found.candidate)
        enough = found.people >= policy.least_people and replies >= policy.least_replies
        if enough and found.away >= -policy.margin:
            promoted = await house.trials.advance(trial, found.describe())
            if promoted:
                await let_go(house, alias)
    return await house.trials.running(alias)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate and release since a trial came to its step."""

    candidate: tuple[Judged, ...]
    release: tuple[Judged, ...]
    difference: Difference | None

    @property
    def people(self) -> int:
        """Who judged, on the side with fewer."""
        return min(len(people_means(self.candidate)), len(people_means(self.release)))

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
    """By people who judged a reply since the trial came to its step."""
    candidate = await _heard(house, trial.alias, "canary", trial.since)
    release = await _heard(house, trial.alias, "stable", trial.since)
    return Comparison(candidate, release, watch(candidate, release))


def _harm(found: Comparison, margin: float) -> str:
    worse = found.difference is not None and found.difference.high < -margin
    return f"people like it less: {found.describe()}" if worse else ""


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
    ours = await _heard(house, alias, "stable", policy.since)
    theirs = await _heard(house, alias, "holdback", policy.since)
    overall = lift(ours, theirs)
    days = sorted({one.day for one in (*ours, *theirs)})
    by_day = [(day, lift(_on(day, ours), _on(day, theirs))) for day in days]
    why = "" if overall else f"fewer than {FEWEST} people judged a reply on one of the sides"
    return Lift(alias, policy.holdback, policy.since, overall, tuple((d, one) for d, one in by_day if one), why)


def lift_json(found: Lift) -> dict[str, object]:
    return asdict(found)


def _on(day: int, judged: Iterable[Judged]) -> list[Judged]:
    return [one for one in judged if one.day == day]


async def _heard(house: House, alias: str, arm: Arm, since: float) -> tuple[Judged, ...]:
    """What people said of an arm's replies. The quarantined are not heard, nor what is only implied or judged."""
    replies = await house.trials.judged(alias, (arm,), since)
    quarantined = {one.name for one in await house.trust.raters(alias) if one.quarantined}
    return tuple(one for reply in replies if (one := _judged(*reply, quarantined)))


def _judged(episode: Episode, said: Sequence[Feedback], quarantined: Iterable[str]) -> Judged | None:
    kept = [one for one in said if one.source == "person" and rater_of(one, episode.user) not in quarantined]
    rewards = [reward for (name, _), reward in merge(kept).items() if name == episode.id]
    person = episode.user or episode.session
    if not rewards or person is None:
        return None
    return Judged(f"{episode.tenant}/{person}", int(episode.created_at // _DAY), tuple(rewards))


async def let_go(house: House, alias: str) -> None:
    """Remove the checkpoints of releases that nobody can go back to."""
    for path in await house.register.dispensable(alias):
        try:
            await house.desk.checkpoints.delete(_TENANT, path)
        except NotFound:
            log.info("%s was gone already", path)
