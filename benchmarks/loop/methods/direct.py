"""Rival (c): DPO only (arXiv:2305.18290), on every pair the feedback of the day gives.

The reference is the adapter as the night began, so that nights add up instead of undoing one another.
"""

from collections.abc import Sequence
from random import Random

import torch
from torch.nn.functional import logsigmoid

from benchmarks.loop.methods.student import Student
from benchmarks.loop.records import Record, pairs

_STEPS, _RATE, _BETA = 30, 1e-4, 0.1
_BATCH = 12
"""Pairs in a step."""


class DirectPreference:
    name = "dpo"
    about = "DPO only"

    def __init__(self, student: Student) -> None:
        self.student = student

    def night(self, records: Sequence[Record], budget: int, seed: int) -> None:
        """Steps over shuffled pairs until 30 were made or `budget` tokens are spent."""
        told = pairs(records)
        sides = [
            (self.student.prompt(one.item), self.student.answer(text))
            for one in told
            for text in (one.chosen, one.rejected)
        ]
        end, chance = self.student.spent + budget, Random(seed)
        order = chance.sample(range(len(told)), len(told))
        known: dict[int, tuple[float, float]] = {}
        for step in range(_STEPS):
            places = [order[(step * _BATCH + place) % len(order)] for place in range(min(_BATCH, len(order)))]
            batch = [sides[2 * place + side] for place in places for side in (0, 1)]
            size = sum(len(prompt) + len(answer) for prompt, answer in batch)
            unknown = [place for place in places if place not in known] if step else order
            reading = sum(sum(map(len, sides[2 * place + side])) for place in unknown for side in (0, 1))
            if not batch or self.student.spent + reading + 2 * size > end:
                return
            if unknown:
                self._read(sides, unknown, known)
            reference = torch.tensor([known[place] for place in places])
            self.student.custom(batch, lambda ends, reference=reference: _loss(ends, reference), _RATE)

    def _read(
        self, sides: Sequence[tuple[list[int], list[int]]], places: Sequence[int], known: dict[int, tuple[float, float]]
    ) -> None:
        found = self.student.logprobs([sides[2 * place + side] for place in places for side in (0, 1)])
        for number, place in enumerate(places):
            known[place] = (sum(found[2 * number]), sum(found[2 * number + 1]))


def _loss(ends: list[torch.Tensor], reference: torch.Tensor) -> torch.Tensor:
    """The mean of −log σ(β Δ), Δ being how much more the chosen gained on the reference than the rejected."""
    totals = torch.stack([values.sum() for values in ends]).reshape(-1, 2)
    gained = totals - reference
    return -logsigmoid(_BETA * (gained[:, 0] - gained[:, 1])).mean()
