"""Repairs: each accepted correction becomes a probe, so that no later lap quietly undoes it.

A repair is named after its episode, `<episode>:repair…`, and goes where the episode goes: erasing a person erases it.
Where a question was corrected twice, the later correction stands.
"""

import random
from collections.abc import Collection, Iterable, Sequence

from anubhav.types.chat import Message
from anubhav.types.experience import Comparison, Probe, Score

SUITE = "guard-repairs"
SAMPLE = 64
"""Measured in a lap, at most."""
FORGOTTEN = 0.05
"""A greater share of what the incumbent answers may not be lost."""


def repair(episode: str, choice: int, alias: str, messages: tuple[Message, ...], text: str) -> Probe:
    return Probe(f"{episode}:repair{choice}", SUITE, "recalled", messages, text, alias)


def sample(repairs: Sequence[Probe], taught: Collection[tuple[Message, ...]], seed: str) -> list[Probe]:
    """All when they are few, else as many as SAMPLE, the same for the same lap. Not what this lap teaches anew."""
    left = [probe for probe in repairs if probe.messages not in taught]
    return left if len(left) <= SAMPLE else random.Random(seed).sample(left, SAMPLE)


def newest(repairs: Iterable[Probe]) -> list[Probe]:
    """One to a question, the last."""
    return list({probe.messages: probe for probe in repairs}.values())


def forgotten(scores: Sequence[Score]) -> tuple[int, int]:
    """How many the incumbent answers, and how many of these the candidate does not."""
    held = [score for score in scores if score.incumbent >= 1]
    return len(held), sum(score.candidate < 1 for score in held)


def show(one: Comparison) -> str:
    return f"{one.lost} of the {one.held} repairs that the incumbent answers"
