"""Imitation: cross entropy on what should have been said, the mean over its tokens, the mean over the batch."""

from collections.abc import Sequence

from anubhav.types.arrays import Array, floats, ints
from anubhav.types.training import Datum


def imitate(prompt: Sequence[int], answer: Sequence[int], weight: float = 1.0) -> Datum:
    """A datum whose weights sum to `weight`, all on the answer (its end-of-turn token included)."""
    full = (*prompt, *answer)
    weights = [0.0] * (len(prompt) - 1) + [weight / len(answer)] * len(answer)
    return Datum(full[:-1], {"target_tokens": ints(full[1:]), "weights": floats(weights)})


def sureness(answers: Sequence[Sequence[int]], logprobs: Sequence[Array]) -> float:
    """How sure of its reply a policy is where it is least sure: the mean log-probability of a token, the smallest of
    all. The first arrays are those of the answers' data."""
    said = zip(answers, logprobs, strict=False)
    return min(sum(array.tolist()[-len(answer) :]) / len(answer) for answer, array in said)
