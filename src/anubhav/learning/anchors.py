"""Anchors: general prompts with what the incumbent itself says to them, mixed in so that a lap forgets nothing else.

The replies are sampled at temperature 1 and the candidate is held to the incumbent's whole distribution along them:
−Σ p log q over its K likeliest tokens, plus the sampled token itself where it is none of those. That is an unbiased
estimate of the cross entropy, hence of the gradient of KL(incumbent ‖ candidate), with little of a lone sample's noise.
Imitating samples alone teaches their accidents, and greedy replies sharpen the distribution (docs/lab-notes.md).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

from anubhav.types.arrays import floats, ints
from anubhav.types.sampling import TopLogprobs
from anubhav.types.training import Datum

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Anchor:
    prompt: tuple[int, ...]
    said: tuple[int, ...]
    likely: tuple[TopLogprobs, ...]
    """For each token said: the incumbent's likeliest (token, log-probability) there."""
    logprobs: tuple[float, ...] = ()
    """The incumbent's, of the tokens said."""


@cache
def anchor_prompts() -> tuple[str, ...]:
    """None of them is a probe of the gate."""
    return tuple(json.loads(files("anubhav.learning").joinpath("anchors.json").read_text()))


def take(anchors: Sequence[T], step: int, count: int) -> list[T]:
    """`count` of them for this step, all of them in turn over the steps."""
    return [anchors[(step * count + place) % len(anchors)] for place in range(min(count, len(anchors)))]


def take_part(items: Sequence[T], step: int, parts: int, least: int) -> list[T]:
    """One of the even parts for this step, in turn."""
    count = parts_of(items, parts, least)
    return list(items[step % count :: count])


def parts_of(items: Sequence[T], parts: int, least: int) -> int:
    """How many: at most `parts`, and fewer where a part would have less than `least`."""
    return max(1, min(parts, len(items) // least))


def hold(anchor: Anchor, weight: float) -> Datum:
    """A cross-entropy datum of (N, K + 1) targets; `weight` is shared by the tokens of the reply."""
    width = len(anchor.likely[0]) + 1
    blank = len(anchor.prompt) - 1
    targets, weights = [0] * (blank * width), [0.0] * (blank * width)
    for token, likely in zip(anchor.said, anchor.likely, strict=True):
        rare = all(token != known for known, _ in likely)
        targets += [*(known for known, _ in likely), token]
        weights += [weight / len(anchor.said) * share for share in (*(math.exp(lp) for _, lp in likely), float(rare))]
    full = (*anchor.prompt, *anchor.said)
    shape = (len(full) - 1, width)
    return Datum(full[:-1], {"target_tokens": ints(targets, shape), "weights": floats(weights, shape)})
