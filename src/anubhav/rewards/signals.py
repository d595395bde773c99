"""Feedback → a reward in [-1, 1] for each judged choice. A thumb is one bounded term among others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from anubhav.types.experience import Feedback, split_target

Judged = tuple[str, int]
"""(episode id, choice)"""


def merge(feedback: Iterable[Feedback]) -> Mapping[Judged, float]:
    """One reward per judged choice: the mean over raters and kinds, of which each rater's last word counts."""
    last: dict[tuple[Judged, str, str], float] = {}
    for one in feedback:
        for judged, reward in _rewards(one):
            # Without a rater every vote is its own: two anonymous thumbs are two people.
            last[judged, one.kind, one.rater or one.id] = reward
    collected: defaultdict[Judged, list[float]] = defaultdict(list)
    for (judged, _, _), reward in last.items():
        collected[judged].append(reward)
    return {judged: sum(rewards) / len(rewards) for judged, rewards in collected.items()}


def _rewards(one: Feedback) -> Iterable[tuple[Judged, float]]:
    judged = (one.episode, one.choice)
    if one.kind == "correction":
        yield judged, -1.0
    elif one.kind == "comparison":
        yield judged, 1.0
        yield split_target(one.against or ""), -1.0
    else:
        yield judged, 2.0 * (one.value or 0.0) - 1.0
