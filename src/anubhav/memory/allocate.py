"""Allocate: how many tokens each chunk may keep.

Maximises sum_i s_i (1 - exp(-b_i / tau_i)) subject to sum_i b_i <= B and 0 <= b_i <= whole_i: the more of a chunk is
kept, the less another token adds. The optimum is b_i = tau_i log(s_i / (lambda tau_i)), cut to [0, whole_i], with one
lambda for all, found by bisection. What would be too short to say anything is dropped and its tokens go to the rest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = 40


@dataclass(frozen=True, slots=True)
class Claim:
    """What a chunk asks for: its score (> 0), how fast tokens saturate, the fewest and the most it can use."""

    score: float
    tau: float
    least: int
    most: int


def allocate(claims: Sequence[Claim], budget: int) -> list[int]:
    """Whole tokens per claim: 0, or at least its least. Their sum never exceeds the budget."""
    if sum(claim.most for claim in claims) <= budget:
        return [claim.most for claim in claims]
    alive = [claim.score > 0 and 0 < claim.least <= budget for claim in claims]
    while True:
        given = _fill(claims, alive, budget)
        weak = [i for i, tokens in enumerate(given) if alive[i] and tokens < claims[i].least]
        if not weak:
            break
        # One half of the weak at a time: what they leave may save the others.
        weak.sort(key=lambda i: claims[i].score * (1 - math.exp(-claims[i].least / claims[i].tau)) / claims[i].least)
        for i in weak[: max(1, len(weak) // 2)]:
            alive[i] = False
    left = budget - sum(given)
    for i in sorted(range(len(claims)), key=lambda i: (not alive[i], -claims[i].score)):
        # Rounded down and dropped one half at a time, there is some left, at times enough for one that was dropped.
        if claims[i].score > 0 and given[i] + left >= claims[i].least:
            more = min(left, claims[i].most - given[i])
            given[i] += more
            left -= more
    return given


def _fill(claims: Sequence[Claim], alive: Sequence[bool], budget: int) -> list[int]:
    """Water-filling over the claims still alive."""
    rates = [claim.score / claim.tau if ok else 0.0 for claim, ok in zip(claims, alive, strict=True)]
    low, high = 0.0, max(rates, default=0.0)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if sum(_shares(claims, rates, middle)) > budget:
            low = middle
        else:
            high = middle
    return [int(share) for share in _shares(claims, rates, high)]


def _shares(claims: Sequence[Claim], rates: Sequence[float], price: float) -> list[float]:
    return [
        min(float(claim.most), claim.tau * math.log(rate / price)) if rate > price > 0 else 0.0
        for claim, rate in zip(claims, rates, strict=True)
    ]
