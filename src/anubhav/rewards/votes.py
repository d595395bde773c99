"""Feedback as the critic takes it: one vote with a wish between 0 and 1, about one answer or about two.

Thumbs, ratings and outcomes wish for their value, comparisons and corrections for the first of a pair. All go through
one logistic likelihood: of the answer's worth plus the rater's leniency, or of the difference of two worths
(Bradley and Terry, 1952).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from anubhav.types.experience import Feedback, Source, split_target

WEIGHTS: Mapping[Source, float] = {"person": 1.0, "judge": 0.3, "implied": 0.2}
"""What a vote counts at most."""


@dataclass(frozen=True, slots=True)
class View:
    """An answer as the critic sees it."""

    features: tuple[float, ...]
    covariates: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Vote:
    seq: int
    rater: str
    item: str
    """What it is about: votes of several raters on one item can be held against each other."""
    source: Source
    at: float
    wanted: float
    view: View
    against: View | None = None
    """The losing answer of a pair."""
    teaches: bool = False
    """A correction: it is learned from whoever gave it, so it never judges candidates."""
    key: str = ""
    """The rater's last vote under a key counts."""


def rater_of(feedback: Feedback, user: str | None = None) -> str:
    """Who votes, for trust and caps. Nameless votes are their tenant's, so that they cannot be many."""
    if feedback.source == "judge":
        return feedback.rater or "judge:unnamed"
    name = f"{feedback.tenant}/{feedback.rater or user or ''}"
    return f"implied:{name}" if feedback.source == "implied" else name


def key_of(feedback: Feedback, rater: str) -> str:
    kind = f"{feedback.kind}:{feedback.against}" if feedback.kind == "comparison" else feedback.kind
    if feedback.kind == "outcome":
        kind = f"outcome:{feedback.text or ''}"
    return f"{rater}\n{feedback.episode}:{feedback.choice}\n{kind}"


def item_of(feedback: Feedback) -> tuple[str, bool]:
    """The item, and whether it is turned: `a` over `b` and `b` over `a` are votes on one item."""
    here = f"{feedback.episode}:{feedback.choice}"
    if feedback.kind != "comparison":
        return here, False
    name, place = split_target(feedback.against or "")
    there = f"{name}:{place}"
    return ("|".join(sorted((here, there))), here > there)


def cast(feedback: Feedback, view: View, against: View | None, user: str | None = None) -> Vote:
    """`view` is the judged answer, or the corrected text of a correction; `against` what lost to it."""
    rater = rater_of(feedback, user)
    wanted = 1.0 if against else feedback.value or 0.0
    return Vote(
        feedback.seq, rater, item_of(feedback)[0], feedback.source, feedback.created_at, wanted, view, against,
        feedback.kind == "correction", key_of(feedback, rater),
    )  # fmt: skip


def ballot(feedback: Feedback) -> float:
    """What is held against other raters' votes on the same item, -1 to 1."""
    if feedback.kind == "comparison":
        return -1.0 if item_of(feedback)[1] else 1.0
    return -1.0 if feedback.kind == "correction" else 2.0 * (feedback.value or 0.0) - 1.0
