"""Preference by DPO (arXiv:2305.18290), as two forward passes and one weighted cross-entropy backward.

L = −log σ(d), d = β [(log p_c − log r_c) − (log p_r − log r_r)] with p the policy, r the reference, c the chosen and r
the rejected answer. ∂L/∂log p_c = −β σ(−d) and ∂L/∂log p_r = +β σ(−d), which are cross-entropy weights with the sign
turned, the same for every token of an answer. A pair counts as much as its giver is trusted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.learning.origins import Origin
from anubhav.types.arrays import floats, ints
from anubhav.types.training import Datum


@dataclass(frozen=True, slots=True)
class Pair:
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    weight: float = 1.0
    origins: tuple[Origin, ...] = ()


def answers(pairs: Sequence[Pair]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(prompt, answer), chosen and rejected in turn."""
    return [(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]


def both(pairs: Sequence[Pair]) -> list[Datum]:
    """Chosen and rejected in turn, with no weight: what a forward pass scores."""
    return [weighted(prompt, answer, 0.0) for prompt, answer in answers(pairs)]


def answer_logprob(datum_logprobs: Sequence[float], answer: Sequence[int]) -> float:
    """Log p(answer | prompt) from a forward pass over both."""
    return sum(datum_logprobs[len(datum_logprobs) - len(answer) :])


def margins(policy: Sequence[float], reference: Sequence[float], beta: float) -> list[float]:
    """The d of each pair, from the answers' log-probabilities, chosen and rejected in turn."""
    gained = [now - before for now, before in zip(policy, reference, strict=True)]
    return [beta * (gained[place] - gained[place + 1]) for place in range(0, len(gained), 2)]


def strengths(policy: Sequence[float], reference: Sequence[float], beta: float) -> list[float]:
    """β σ(−d) per pair, from the answers' log-probabilities, chosen and rejected in turn."""
    return [beta / (1.0 + math.exp(min(700.0, d))) for d in margins(policy, reference, beta)]


def loss(policy: Sequence[float], reference: Sequence[float], beta: float) -> float:
    """The mean L of the pairs."""
    found = margins(policy, reference, beta)
    return sum(math.log1p(math.exp(-abs(d))) + max(-d, 0.0) for d in found) / len(found)


def weigh(pairs: Sequence[Pair], strength: Sequence[float]) -> list[Datum]:
    """The cross-entropy data whose gradient is that of the mean DPO loss. Pairs without force have none and no data."""
    return [
        weighted(pair.prompt, answer, sign * pair.weight * force / len(pairs))
        for pair, force in zip(pairs, strength, strict=True)
        if force
        for answer, sign in ((pair.chosen, 1.0), (pair.rejected, -1.0))
    ]


def weighted(prompt: Sequence[int], answer: Sequence[int], weight: float) -> Datum:
    """A cross-entropy datum with this weight on each token of the answer."""
    full = (*prompt, *answer)
    weights = [0.0] * (len(prompt) - 1) + [weight] * len(answer)
    return Datum(full[:-1], {"target_tokens": ints(full[1:]), "weights": floats(weights)})
