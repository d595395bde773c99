"""The verdict. A candidate passes only if every target suite improved beyond chance and no guard suite fell.

target: lower bound > 0 and a gain worth having → improved; upper bound < 0 → fail; else, or with under five items,
        inconclusive.
guard:  fell by more than its tolerance beyond chance → fail; by more, but within chance → inconclusive.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from anubhav.gates.statistics import compare
from anubhav.types.experience import Comparison, Score, Verdict

Outcome = Literal["pass", "fail", "inconclusive"]

TOLERANCES: Mapping[str, float] = {"guard-text": 0.10, "guard-questions": 0.10}
"""By guard suite: nats per token, and share of questions right."""
_TOLERANCE = 0.10
"""Of other guard suites."""
_LEAST = 0.01
"""A smaller gain is none, however sure."""
_FEWEST = 5
"""With fewer items a bootstrap knows no chance: one item alone has an interval of no width."""


def judge(scores: Sequence[Score]) -> Verdict:
    """Pure and repeatable: the same scores give the same verdict."""
    suites: defaultdict[str, list[Score]] = defaultdict(list)
    for score in scores:
        suites[score.suite].append(score)
    comparisons = tuple(compare(suite, found) for suite, found in sorted(suites.items()))
    guards = [one for one in comparisons if one.suite.startswith("guard")]
    targets = [one for one in comparisons if not one.suite.startswith("guard")]
    outcome, reason = _decide(targets, guards)
    return Verdict(outcome, reason, comparisons, tuple(scores))


def _decide(targets: list[Comparison], guards: list[Comparison]) -> tuple[Outcome, str]:
    fallen = [one for one in guards if one.high < -_tolerance(one)]
    lost = [one for one in targets if one.high < 0]
    if fallen or lost:
        return "fail", "; ".join(f"{one.suite} got worse: {_show(one)}" for one in (*fallen, *lost))
    doubtful = [one for one in guards if one.difference < -_tolerance(one)]
    if doubtful:
        return "inconclusive", "; ".join(f"{one.suite} may have got worse: {_show(one)}" for one in doubtful)
    if not targets:
        return "inconclusive", "no probe measures what this lap was to improve"
    few = [one for one in targets if one.n < _FEWEST]
    if few:
        return "inconclusive", "; ".join(f"{one.suite} has {one.n} items, too few to tell from chance" for one in few)
    unsure = [one for one in targets if one.low <= 0 or one.difference < _LEAST]
    if unsure:
        return "inconclusive", "; ".join(f"{one.suite} is within chance or too little: {_show(one)}" for one in unsure)
    return "pass", "; ".join(f"{one.suite} improved: {_show(one)}" for one in targets)


def _tolerance(guard: Comparison) -> float:
    return TOLERANCES.get(guard.suite, _TOLERANCE)


def _show(one: Comparison) -> str:
    return f"{one.incumbent:.2f} → {one.candidate:.2f} ({one.difference:+.2f}, 95 % {one.low:+.2f} to {one.high:+.2f})"
