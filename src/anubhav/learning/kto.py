"""Lone likes and dislikes by KTO (arXiv:2402.01306), as forward passes and one weighted cross-entropy backward.

L = mean of λ (1 − v), v = σ(β (u − z)) for a liked and σ(β (z − u)) for a disliked answer, u = log p − log r with p the
policy and r the reference, z = max(0, the mean of u over answers set behind each other's prompts), an estimate of
KL(p ‖ r) that takes no gradient. ∂L/∂log p = −λ β v (1 − v) for a liked answer, with the other sign for a disliked one:
cross-entropy weights, the same for every token of an answer. λ is how clear and how trusted the judgement was, and
evens out likes and dislikes (the paper's equation 9).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.learning.origins import Origin
from anubhav.learning.preference import weighted
from anubhav.types.training import Datum

_EVENED = 4.0
"""However rare a side is, one of it counts no more than so many."""

Answer = tuple[tuple[int, ...], tuple[int, ...]]
"""(prompt, answer)"""


@dataclass(frozen=True, slots=True)
class Liking:
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    good: bool
    weight: float = 1.0
    origins: tuple[Origin, ...] = ()


def answers(likings: Sequence[Liking]) -> list[Answer]:
    return [(one.prompt, one.answer) for one in likings]


def mismatched(likings: Sequence[Liking]) -> list[Answer]:
    """Each answer behind the next other prompt; none where there is one prompt only, and z is then 0."""
    prompts = list(dict.fromkeys(one.prompt for one in likings))
    following = dict(zip(prompts, [*prompts[1:], *prompts[:1]], strict=True))
    return [(following[one.prompt], one.answer) for one in likings] if len(prompts) > 1 else []


def baseline(policy: Sequence[float], reference: Sequence[float]) -> float:
    """z, from the log-probabilities of the mismatched answers."""
    gained = [after - before for after, before in zip(policy, reference, strict=True)]
    return max(0.0, sum(gained) / len(gained)) if gained else 0.0


def shares(likings: Sequence[Liking]) -> list[float]:
    """λ of each, of a whole lap."""
    sides = {good: sum(one.weight for one in likings if one.good is good) for good in (True, False)}
    largest = max(sides.values(), default=0.0)
    even = {good: min(_EVENED, largest / total) if total else 1.0 for good, total in sides.items()}
    return [one.weight * even[one.good] for one in likings]


def forces(
    likings: Sequence[Liking], policy: Sequence[float], reference: Sequence[float], z: float, beta: float
) -> list[float]:
    """β v (1 − v) per answer, from the answers' log-probabilities."""
    found: list[float] = []
    for one, after, before in zip(likings, policy, reference, strict=True):
        away = beta * (after - before - z) * (1.0 if one.good else -1.0)
        value = 1.0 / (1.0 + math.exp(min(700.0, -away)))
        found.append(beta * value * (1.0 - value))
    return found


def weigh(likings: Sequence[Liking], force: Sequence[float]) -> list[Datum]:
    """The cross-entropy data whose gradient is that of the mean KTO loss; their weights are λ."""
    return [
        weighted(one.prompt, one.answer, (1.0 if one.good else -1.0) * one.weight * strength / len(likings))
        for one, strength in zip(likings, force, strict=True)
    ]
