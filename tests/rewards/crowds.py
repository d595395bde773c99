"""People with a hidden taste, some of them noisy or hostile, who judge random answers."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from anubhav.rewards.covariates import NAMES
from anubhav.rewards.mind import Mind, fresh
from anubhav.rewards.posterior import dot, logistic
from anubhav.rewards.votes import View, Vote

SIZE = 16
PLAIN = (0.0,) * len(NAMES)


@dataclass
class Crowd:
    seed: int
    noise: float = 0.0
    steep: float = 2.5
    chance: random.Random = field(init=False)
    taste: list[float] = field(init=False)
    number: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.taste = [self.chance.gauss(0, 1) / SIZE**0.5 for _ in range(SIZE)]

    def answer(self, covariates: tuple[float, ...] = PLAIN) -> View:
        return View(tuple(self.chance.gauss(0, 1) for _ in range(SIZE)), covariates)

    def worth(self, view: View) -> float:
        return self.steep * dot(self.taste, view.features)

    def thumb(self, rater: str, view: View, item: str | None = None, *, hostile: bool = False) -> Vote:
        up = self.chance.random() < logistic(self.worth(view))
        if self.chance.random() < self.noise:
            up = not up
        return self.vote(rater, view, float(up != hostile), item)

    def compare(self, rater: str, first: View, second: View) -> Vote:
        better = self.chance.random() < logistic(self.worth(first) - self.worth(second))
        if self.chance.random() < self.noise:
            better = not better
        return self.vote(rater, *((first, 1.0) if better else (second, 1.0)), None, second if better else first)

    def vote(self, rater: str, view: View, wanted: float, item: str | None = None, against: View | None = None) -> Vote:
        self.number += 1
        item = item or f"ep_{self.number}:0"
        return Vote(self.number, rater, item, "person", 0.0, wanted, view, against, key=f"{rater}\n{item}")


def teach(mind: Mind, *votes: Vote) -> Mind:
    for vote in votes:
        mind.step(vote, 1.0 if vote.against else 2 * vote.wanted - 1)
    return mind


def empty() -> Mind:
    return fresh(SIZE, len(NAMES))


def skill(mind: Mind, crowd: Crowd, tries: int = 400, bent: Callable[[View], float] | None = None) -> float:
    """How often the mind prefers what the crowd truly prefers; odds of equal answers left out."""
    worth, right = bent or crowd.worth, 0
    for _ in range(tries):
        first, second = crowd.answer(), crowd.answer()
        ours = mind.estimate([first, second])
        right += (ours[0].mean > ours[1].mean) == (worth(first) > worth(second))
    return right / tries
