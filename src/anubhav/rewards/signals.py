"""Feedback → a reward in [-1, 1] for each judged choice. A thumb is one bounded term among others.

Judges' votes and what a next turn implies weigh little, and alone they never make a whole reward.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from anubhav.rewards.votes import WEIGHTS
from anubhav.types.experience import Feedback, split_target

Judged = tuple[str, int]
"""(episode id, choice)"""


def merge(feedback: Iterable[Feedback]) -> Mapping[Judged, float]:
    """One reward per judged choice: the mean over raters and kinds, of which each rater's last word counts."""
    last: dict[tuple[Judged, str, str], tuple[float, float]] = {}
    for one in feedback:
        for judged, reward in _rewards(one):
            # Without a rater every vote is its own: two anonymous thumbs are two people.
            last[judged, one.kind, one.rater or one.id] = (reward, WEIGHTS[one.source])
    collected: defaultdict[Judged, list[tuple[float, float]]] = defaultdict(list)
    for (judged, _, _), vote in last.items():
        collected[judged].append(vote)
    return {judged: _mean(votes) for judged, votes in collected.items()}


def _mean(votes: Sequence[tuple[float, float]]) -> float:
    return sum(reward * weight for reward, weight in votes) / max(1.0, sum(weight for _, weight in votes))


def _rewards(one: Feedback) -> Iterable[tuple[Judged, float]]:
    judged = (one.episode, one.choice)
    if one.kind == "correction":
        yield judged, -1.0
    elif one.kind == "comparison":
        yield judged, 1.0
        yield split_target(one.against or ""), -1.0
    else:
        yield judged, 2.0 * (one.value or 0.0) - 1.0
