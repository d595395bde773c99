"""Feedback → a reward in [-1, 1] for each judged choice. A thumb is one bounded term among others.

Judges' votes and what a next turn implies weigh little, and alone they never make a whole reward.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anubhav.rewards.votes import WEIGHTS
from anubhav.types.experience import Feedback, split_target

Judged = tuple[str, int]
"""(episode id, choice)"""


def merge(feedback: Iterable[Feedback]) -> Mapping[Judged, float]:
    """One reward per judged choice: the mean over raters and kinds, of which each rater's last word counts."""
    last: dict[tuple[Judged, str, str], tuple[float, float]] = {}
    for one in feedback:
        for judged, reward in rewards(one):
            # Without a rater every vote is its own: two anonymous thumbs are two people.
            last[judged, one.kind, one.rater or one.id] = (reward, WEIGHTS[one.source])
    collected: defaultdict[Judged, list[tuple[float, float]]] = defaultdict(list)
    for (judged, _, _), vote in last.items():
        collected[judged].append(vote)
    return {judged: _mean(votes) for judged, votes in collected.items()}


@dataclass(frozen=True, slots=True)
class Worth:
    """Of a judged choice, by those who are believed."""

    reward: float
    weight: float
    """0 to 1: how far it is trusted."""
    feedback: tuple[str, ...]
    """The judgements in it."""


def tally(feedback: Iterable[Feedback], weights: Mapping[str, float]) -> Mapping[Judged, Worth]:
    """As `merge`, each judgement weighing what `weights` (by id, `Trust.weigh`) gives it; none of 0 is heard."""
    heard: defaultdict[Judged, list[tuple[float, float, str]]] = defaultdict(list)
    for one in feedback:
        if (weight := weights.get(one.id, 0.0)) > 0:
            for judged, reward in rewards(one):
                heard[judged].append((reward, weight, one.id))
    return {judged: _worth(votes) for judged, votes in heard.items()}


def _worth(votes: Sequence[tuple[float, float, str]]) -> Worth:
    total = sum(weight for _, weight, _ in votes)
    reward = sum(reward * weight for reward, weight, _ in votes) / total
    return Worth(reward, min(1.0, total), tuple(dict.fromkeys(name for _, _, name in votes)))


def _mean(votes: Sequence[tuple[float, float]]) -> float:
    return sum(reward * weight for reward, weight in votes) / max(1.0, sum(weight for _, weight in votes))


def rewards(one: Feedback) -> Iterable[tuple[Judged, float]]:
    """What one judgement says of each choice that it is about: a comparison of two."""
    judged = (one.episode, one.choice)
    if one.kind == "correction":
        yield judged, -1.0
    elif one.kind == "comparison":
        yield judged, 1.0
        yield split_target(one.against or ""), -1.0
    else:
        yield judged, 2.0 * (one.value or 0.0) - 1.0
