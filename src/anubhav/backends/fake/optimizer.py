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
        row, wanted = rows.setdefault(context, {}), slopes.get(context, {})
        for token in sorted(wanted.keys() - row.keys()):
            row[token] = 0.0
        first = moments.first.setdefault(context, {})
        if params.family == "dimuon":
            _orthogonal(row, wanted, first, params, rank)
        else:
            _adamw(row, wanted, first, moments.second.setdefault(context, {}), moments.steps, params)


def _orthogonal(
    row: dict[int, float], wanted: dict[int, float], first: dict[int, float], params: OptimParams, rank: int
) -> None:
    for token in row:
        first[token] = params.beta1 * first.get(token, 0.0) + (1 - params.beta1) * wanted.get(token, 0.0)
    size = math.hypot(*(first[token] for token in row))
    rate = params.learning_rate * math.sqrt(rank / 32) * math.sqrt(rank)
    for token, value in row.items():
        row[token] = value - (rate * first[token] / size if size else 0.0)


def _adamw(
    row: dict[int, float],
    wanted: dict[int, float],
    first: dict[int, float],
    second: dict[int, float],
    steps: int,
    params: OptimParams,
) -> None:
    beta1, beta2, rate, eps = params.beta1, params.beta2, params.learning_rate, params.eps
    bias1, bias2, kept = 1 - beta1**steps, 1 - beta2**steps, 1 - rate * params.weight_decay
    slope_of, mean_of, square_of, root = wanted.get, first.get, second.get, math.sqrt
    for token, value in row.items():
        slope = slope_of(token, 0.0)
        first[token] = mean = beta1 * mean_of(token, 0.0) + (1 - beta1) * slope
        second[token] = square = beta2 * square_of(token, 0.0) + (1 - beta2) * slope * slope
        row[token] = value * kept - rate * (mean / bias1) / (root(square / bias2) + eps)
