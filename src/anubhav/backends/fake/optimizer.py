"""The table's optimizers: AdamW cell by cell, and Dimuon with every context's row as a matrix of that one row.

Both do what backends/torch does; orthogonalising a matrix of one row is dividing it by its norm.
"""

import math
from dataclasses import dataclass, field

from anubhav.backends.fake.table import Rows
from anubhav.errors import BadInput
from anubhav.types.training import OPTIMIZERS, OptimParams


@dataclass(slots=True)
class Moments:
    first: Rows = field(default_factory=dict[int, dict[int, float]])
    second: Rows = field(default_factory=dict[int, dict[int, float]])
    """AdamW's alone."""
    steps: int = 0
    family: str = ""
    """That of the first step; empty before."""

    def begin(self, family: str) -> None:
        """Raises BadInput for an unknown family, or another one than that of the steps before."""
        if family not in OPTIMIZERS:
            raise BadInput(f"The optimizer {family!r} is unknown", hint=f"Use one of {', '.join(OPTIMIZERS)}.")
        if self.family not in ("", family):
            raise BadInput(f"This run's optimizer is {self.family}, not {family}", hint="Step with its own parameters.")
        self.family = family


def update(rows: Rows, slopes: Rows, moments: Moments, params: OptimParams, rank: int) -> None:
    """One step, in place. `slopes` are clipped already."""
    moments.steps += 1
    for context in sorted(rows.keys() | slopes.keys()):
        wanted = slopes.get(context, {})
        # A context's dicts name the same tokens in the same order, so that they can be walked together.
        row = {**rows.get(context, {})}
        row |= dict.fromkeys(sorted(wanted.keys() - row.keys()), 0.0)
        first = _moved(moments.first.get(context, {}), row, params.beta1, wanted)
        moments.first[context] = first
        if params.family == "dimuon":
            rows[context] = _orthogonal(row, first, params.learning_rate * math.sqrt(rank / 32) * math.sqrt(rank))
        else:
            squares = {token: slope * slope for token, slope in wanted.items()}
            second = _moved(moments.second.get(context, {}), row, params.beta2, squares)
            moments.second[context] = second
            rows[context] = _adamw(row, first, second, moments.steps, params)


def _moved(mean: dict[int, float], row: dict[int, float], beta: float, news: dict[int, float]) -> dict[int, float]:
    """A moving mean, of every token in the row."""
    if not news and len(mean) == len(row):
        return {token: beta * value for token, value in mean.items()}
    old, new = mean.get, news.get
    return {token: beta * old(token, 0.0) + (1 - beta) * new(token, 0.0) for token in row}


def _orthogonal(row: dict[int, float], first: dict[int, float], rate: float) -> dict[int, float]:
    size = math.hypot(*first.values())
    return {token: value - (rate * first[token] / size if size else 0.0) for token, value in row.items()}


def _adamw(
    row: dict[int, float], first: dict[int, float], second: dict[int, float], steps: int, params: OptimParams
) -> dict[int, float]:
    rate, kept = params.learning_rate / (1 - params.beta1**steps), 1 - params.learning_rate * params.weight_decay
    bias, eps, root = 1 - params.beta2**steps, params.eps, math.sqrt
    cells = zip(row.items(), first.values(), second.values(), strict=True)
    return {token: value * kept - rate * mean / (root(square / bias) + eps) for (token, value), mean, square in cells}
