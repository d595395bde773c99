"""The length guard: replies to questions that have nothing to do with a lap should not grow, as raters who like long
replies make them (Singhal et al., 2023). Growing shorter is what corrections often ask for, and no harm."""

import math
from collections.abc import Iterable

from anubhav.types.experience import Score

SUITE = "guard-length"


_LINE = 120
"""Characters that are always counted: from a word to a line is no flood."""


def lengths(scores: Iterable[Score]) -> list[Score]:
    """From what both voices were heard saying to the guard's questions: minus the logarithm of how much longer."""
    heard = [one for one in scores if one.suite == "guard-questions"]
    return [Score(f"{one.probe}:length", SUITE, 0.0, -_growth(one.incumbent_text, one.candidate_text)) for one in heard]


def _growth(before: str, after: str) -> float:
    return max(0.0, math.log((len(after) + _LINE) / (len(before) + _LINE)))
