"""Anchors: general prompts with what the incumbent itself says to them, mixed in so that a lap forgets nothing else.

They are sampled at temperature 1. Greedy answers would keep the facts but sharpen the distribution, and the likelihood
of all other text falls by a nat (docs/lab-notes.md).
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TypeVar

T = TypeVar("T")


@cache
def anchor_prompts() -> tuple[str, ...]:
    """None of them is a probe of the gate."""
    return tuple(json.loads(files("anubhav.learning").joinpath("anchors.json").read_text()))


def take(anchors: Sequence[T], step: int, count: int) -> list[T]:
    """`count` of them for this step, all of them in turn over the steps."""
    return [anchors[(step * count + place) % len(anchors)] for place in range(min(count, len(anchors)))]
