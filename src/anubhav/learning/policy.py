"""Rewards → advantages → policy-gradient data on exactly the tokens that were sampled.

Where a prompt was answered several times the advantage is the reward minus the mean of its group (GRPO without the
division by the deviation, arXiv:2503.20783); where once, minus the alias's running baseline. It is multiplied by how
far the judgement is trusted.

Three policies stand in it (decoupled PPO, arXiv:2110.00641): the one that sampled, q; the incumbent, where the lap
began, p₀; and the candidate, p. The objectives below hold p against p₀. What q is away from p₀ (another temperature, an
older adapter, another engine's rounding) is an importance weight on each token's advantage, min(p₀ / q, cap): truncated
importance sampling (Ionides, 2008). Answers without log-probabilities of their sampling have weight 1. None is rejected
as a whole: one that was drawn at another temperature is far from p₀, and right nevertheless.

The penalty takes coefficient · (log p − log p₀) from each token's advantage, centred over the batch: its gradient is
that of KL(candidate ‖ incumbent) on the tokens sampled (as `incorporate_kl_penalty` of Tinker's cookbook).
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from anubhav.learning.origins import Origin
from anubhav.types.arrays import Array, floats, ints
from anubhav.types.training import Datum

Objective = Literal["grpo", "cispo", "importance_sampling", "stable_reinforce"]
LOSS_OF: Final[Mapping[Objective, str]] = {
    "grpo": "ppo",
    "cispo": "cispo",
    "importance_sampling": "importance_sampling",
    "stable_reinforce": "stable_reinforce",
}
"""The engine's loss of each; the formulas stand in backends/torch/losses."""


@dataclass(frozen=True, slots=True)
class Rated:
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    reward: float
    weight: float = 1.0
    """How far the reward is trusted."""
    logprobs: tuple[float, ...] = ()
    """Of the policy that sampled it; empty where unknown."""
    fresh: bool = False
    """Sampled in this lap and scored by the critic; it is compared with its like only."""
    own: bool = False
    """The incumbent sampled it, at temperature 1: what its log-probabilities are away from the trainer's is error."""
    origins: tuple[Origin, ...] = ()


def advantages(rated: Sequence[Rated], baseline: float) -> list[float]:
    """One per rated answer."""
    groups: defaultdict[tuple[tuple[int, ...], bool], list[Rated]] = defaultdict(list)
    for one in rated:
        groups[one.prompt, one.fresh].append(one)
    means = {name: _mean(group) if len(group) > 1 else baseline for name, group in groups.items()}
    return [one.weight * (one.reward - means[one.prompt, one.fresh]) for one in rated]


def informative(rated: Sequence[Rated], baseline: float) -> list[tuple[Rated, float]]:
    """Those with an advantage: groups that all agree teach nothing."""
    pairs = zip(rated, advantages(rated, baseline), strict=True)
    return [(one, advantage) for one, advantage in pairs if abs(advantage) > 1e-6]


def deal(rated: Sequence[Rated], parts: int) -> Iterator[list[int]]:
    """Minibatches without end, as places in `rated`: each epoch deals whole groups of one prompt to `parts` of them.

    Many small steps learn more than few large ones over the same tokens (docs/lab-notes.md). A group stays together,
    as its prompt is then computed once.
    """
    groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, one in enumerate(rated):
        groups[one.prompt].append(place)
    order, shuffler = list(groups.values()), random.Random(0)
    parts = min(parts, len(order))
    while order:
        shuffler.shuffle(order)
        for part in range(parts):
            yield [place for group in order[part::parts] for place in group]


def score(rated: Sequence[Rated]) -> list[Datum]:
    """What a forward pass needs to tell the incumbent's log-probabilities."""
    return [_datum(one, {"weights": floats([0.0] * (len(one.prompt) + len(one.answer) - 1))}) for one in rated]


def truncated(one: Rated, known: Array, cap: float) -> list[float]:
    """min(p₀ / q, cap) for each token of the answer; `known` are the incumbent's log-probabilities of the datum."""
    away = _away(one, known)
    if not away:
        return [1.0] * len(one.answer)
    return [min(math.exp(min(difference, 700.0)), cap) for difference in away]


def mismatch(rated: Sequence[Rated], known: Sequence[Array]) -> float | None:
    """KL(sampler ‖ trainer), nats per token, over what the incumbent itself said; None where it said nothing.

    Both are the incumbent: what is left is how far two engines compute the same policy apart.
    """
    found = [value for one, array in zip(rated, known, strict=True) if one.own for value in _away(one, array)]
    return _estimate(found) if found else None


def _away(one: Rated, known: Array) -> list[float]:
    """Of each token log p₀ − log q; nothing where q is unknown."""
    incumbent = known.tolist()[len(one.prompt) - 1 :] if one.logprobs else []
    return [ours - theirs for ours, theirs in zip(incumbent, one.logprobs, strict=True)]


def reinforce(
    pairs: Sequence[tuple[Rated, float]], known: Sequence[Array], cap: float, penalties: Sequence[Sequence[float]] = ()
) -> list[Datum]:
    """Data for the losses above; the advantages are divided by the size of the batch.

    `penalties`: what to take from the advantage of each answer's tokens.
    """
    taken = penalties or [[0.0] * len(one.answer) for one, _ in pairs]
    return [
        _datum(
            one,
            {
                "logprobs": logprobs,
                "advantages": floats(
                    [0.0] * (len(one.prompt) - 1)
                    + [
                        (advantage - less) * share / len(pairs)
                        for share, less in zip(truncated(one, logprobs, cap), lost, strict=True)
                    ],
                ),
            },
        )
        for (one, advantage), logprobs, lost in zip(pairs, known, taken, strict=True)
    ]


def penalties(
    rated: Sequence[Rated], now: Sequence[Array], known: Sequence[Array], coefficient: float
) -> list[list[float]]:
    """The coefficient times (log p − log p₀), less its mean over the batch, for each token of each answer."""
    away = [_differences(*three) for three in zip(rated, now, known, strict=True)]
    tokens = [value for answer in away for value in answer]
    mean = sum(tokens) / max(1, len(tokens))
    return [[coefficient * (value - mean) for value in answer] for answer in away]


def divergence(rated: Sequence[Rated], now: Sequence[Array], known: Sequence[Array]) -> float:
    """KL(incumbent ‖ candidate), nats per token: the mean of e^d − 1 − d, d = log p − log p₀, on the former's tokens.

    Schulman's low-variance estimate (joschu.net/blog/kl-approx.html); exact in expectation where q is the incumbent.
    """
    return _estimate([value for three in zip(rated, now, known, strict=True) for value in _differences(*three)])


def drift(answers: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """The same from (log p, log p₀) of the tokens of each answer."""
    return _estimate([after - before for pair in answers for after, before in zip(*pair, strict=True)])


def _estimate(differences: Sequence[float]) -> float:
    return sum(math.expm1(min(one, 50.0)) - one for one in differences) / max(1, len(differences))


def _differences(one: Rated, now: Array, known: Array) -> list[float]:
    start = len(one.prompt) - 1
    return [after - before for after, before in zip(now.tolist()[start:], known.tolist()[start:], strict=True)]


def _mean(group: Sequence[Rated]) -> float:
    total = sum(one.weight for one in group)
    return sum(one.weight * one.reward for one in group) / total if total else 0.0


def _datum(one: Rated, inputs: dict[str, Array]) -> Datum:
    full = (*one.prompt, *one.answer)
    return Datum(full[:-1], {"target_tokens": ints(full[1:]), **inputs})
