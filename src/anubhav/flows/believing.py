"""Believing: what each judgement weighs in a lap, why some weigh nothing, and how old what they are about is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anubhav.episodes.recorder import Fresh
from anubhav.flows.house import House
from anubhav.learning.plan import Judged, Valued
from anubhav.rewards.signals import tally
from anubhav.rewards.votes import rater_of
from anubhav.types.experience import Episode, Feedback, Release


@dataclass(frozen=True, slots=True)
class Believed:
    weights: Mapping[str, float]
    """By feedback id, of what is fresh and what is replayed."""
    values: Mapping[Judged, Valued]
    left: Mapping[str, int]


async def believe(house: House, alias: str, fresh: Fresh) -> Believed:
    """What is replayed was weighed when it was learned, so only who stands badly now is left out of it."""
    weights = dict(await house.trust.weigh(alias, fresh.feedback))
    standing = {one.name: one for one in await house.trust.raters(alias)}
    left: Counter[str] = Counter()
    for one in fresh.feedback:
        if weights[one.id] <= 0 and one.episode in fresh.episodes:
            rater = standing.get(rater_of(one, fresh.episodes[one.episode].user))
            held = rater is not None and rater.held and one.kind != "correction"
            distrusted = rater is not None and (rater.quarantined or rater.trust <= 0)
            left["quarantined" if distrusted else "held out" if held else "said anew or capped"] += 1
    for one in fresh.older:
        if one.episode not in fresh.episodes:
            continue
        rater = standing.get(rater_of(one, fresh.episodes[one.episode].user))
        weights[one.id] = 0.0 if rater and rater.quarantined else 1.0
    return Believed(weights, _values(fresh.feedback, weights), left)


def _values(feedback: Sequence[Feedback], weights: Mapping[str, float]) -> dict[Judged, Valued]:
    votes = [one for one in feedback if one.kind in ("thumb", "rating", "outcome")]
    measured = {(one.episode, one.choice) for one in votes if one.kind == "outcome" and weights.get(one.id, 0.0) > 0}
    return {
        judged: Valued(worth.reward, worth.weight, worth.feedback, judged in measured)
        for judged, worth in tally(votes, weights).items()
    }


def age_in_laps(episode: Episode, standing: Sequence[Release]) -> int | None:
    """How many releases came since the one that spoke, `standing` oldest first; None for one that stands no more."""
    adapters = [None, *(release.adapter for release in standing)]
    places = [place for place, adapter in enumerate(adapters) if adapter == episode.adapter]
    return len(adapters) - 1 - places[-1] if places else None


def staleness(episodes: Iterable[Episode], standing: Sequence[Release], now: float) -> dict[str, float]:
    """Of what a lap learns from: the oldest and the mean, in laps and seconds; the unknown age is that of the base."""
    found = list(episodes)
    if not found:
        return {}
    ages = [age_in_laps(one, standing) for one in found]
    laps = [len(standing) if age is None else age for age in ages]
    seconds = [max(0.0, now - one.created_at) for one in found]
    return {
        "oldest_laps": max(laps),
        "mean_laps": round(sum(laps) / len(laps), 2),
        "oldest_seconds": round(max(seconds)),
        "mean_seconds": round(sum(seconds) / len(seconds)),
    }
