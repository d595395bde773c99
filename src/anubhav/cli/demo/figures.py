"""What an act measured: right or wrong on the same held-out items before and after, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anubhav.gates.statistics import interval


@dataclass(frozen=True, slots=True)
class Act:
    n: int
    before: float
    """Share of the held-out items answered right."""
    after: float
    interval: tuple[float, float]
    """95 % interval of the difference, by a paired bootstrap over the items."""
    verdict: str
    """The gate's, on the lap that decided what answers at the end."""
    seconds: float
    laps: tuple[str, ...]
    """The outcome of each lap."""
    text: tuple[float, float] | None
    """Mean log-probability per token of held-out general text under the base model and at the end."""


def measure(before: Sequence[bool], after: Sequence[bool], laps: Sequence[dict[str, Any]], seconds: float) -> Act:
    low, high = difference(before, after)
    outcomes = tuple(str(lap["outcome"] or lap["state"]) for lap in laps)
    return Act(
        n=len(before),
        before=share(before),
        after=share(after),
        interval=(low, high),
        verdict="pass" if "pass" in outcomes else outcomes[-1],
        seconds=round(seconds, 1),
        laps=outcomes,
        text=_text(laps),
    )


def share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def difference(before: Sequence[bool], after: Sequence[bool]) -> tuple[float, float]:
    """The 95 % interval of the gain in the share of right answers."""
    return interval([float(late) - float(early) for early, late in zip(before, after, strict=True)])


def _text(laps: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    """From the evidence of the laps that were released: each began where the one before ended."""
    suites = [
        suite
        for lap in laps
        if lap["outcome"] == "pass"
        for suite in lap["verdict"]["comparisons"]
        if suite["suite"] == "guard-text"
    ]
    return (suites[0]["incumbent"], suites[-1]["candidate"]) if suites else None
