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
        first = moments.first.setdefault(context, {})
        tokens = sorted(row.keys() | wanted.keys())
        for token in tokens:
            first[token] = params.beta1 * first.get(token, 0.0) + (1 - params.beta1) * wanted.get(token, 0.0)
        if params.family == "dimuon":
            _orthogonal(row, first, tokens, params.learning_rate * math.sqrt(rank / 32) * math.sqrt(rank))
        else:
            _adamw(row, wanted, first, moments.second.setdefault(context, {}), tokens, moments.steps, params)


def _orthogonal(row: dict[int, float], first: dict[int, float], tokens: list[int], rate: float) -> None:
    size = math.hypot(*(first[token] for token in tokens))
    for token in tokens:
        row[token] = row.get(token, 0.0) - (rate * first[token] / size if size else 0.0)


def _adamw(
    row: dict[int, float],
    wanted: dict[int, float],
    first: dict[int, float],
    second: dict[int, float],
    tokens: list[int],
    steps: int,
    params: OptimParams,
) -> None:
    bias1, bias2 = 1 - params.beta1**steps, 1 - params.beta2**steps
    for token in tokens:
        slope, value = wanted.get(token, 0.0), row.get(token, 0.0)
        second[token] = params.beta2 * second.get(token, 0.0) + (1 - params.beta2) * slope * slope
        move = first[token] / bias1 / (math.sqrt(second[token] / bias2) + params.eps)
        row[token] = value - params.learning_rate * (move + params.weight_decay * value)
