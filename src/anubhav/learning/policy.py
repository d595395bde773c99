"""Rewards → advantages → PPO data on exactly the tokens that were sampled.

Where a prompt was answered several times the advantage is the reward minus the mean of its group (GRPO without the
division by the deviation, arXiv:2503.20783); where once, minus the alias's running baseline. The behaviour
log-probabilities are those of the candidate before its first step, from a forward pass: replies sampled at another
temperature or by an older adapter are then off-policy by a known amount instead of by a wrong ratio.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anubhav.types.arrays import Array, floats, ints
from anubhav.types.training import Datum


@dataclass(frozen=True, slots=True)
class Rated:
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    reward: float


def advantages(rated: Sequence[Rated], baseline: float) -> list[float]:
    """One per rated answer."""
    groups: defaultdict[tuple[int, ...], list[float]] = defaultdict(list)
    for one in rated:
        groups[one.prompt].append(one.reward)
    means = {prompt: sum(rewards) / len(rewards) for prompt, rewards in groups.items()}
    return [one.reward - (means[one.prompt] if len(groups[one.prompt]) > 1 else baseline) for one in rated]


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
    """What a forward pass needs to tell the behaviour log-probabilities."""
    return [_datum(one, {"weights": floats([0.0] * (len(one.prompt) + len(one.answer) - 1))}) for one in rated]


def reinforce(pairs: Sequence[tuple[Rated, float]], logprobs: Sequence[Array]) -> list[Datum]:
    """PPO data; the advantages are divided by the size of the batch."""
    return [
        _datum(
            one,
            {
                "logprobs": known,
                "advantages": floats(
                    [0.0] * (len(one.prompt) - 1) + [advantage / len(pairs)] * len(one.answer),
                ),
            },
        )
        for (one, advantage), known in zip(pairs, logprobs, strict=True)
    ]


def _datum(one: Rated, inputs: dict[str, Array]) -> Datum:
    full = (*one.prompt, *one.answer)
    return Datum(full[:-1], {"target_tokens": ints(full[1:]), **inputs})
