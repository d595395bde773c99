"""Distillation: a student learns to continue as a reference does, over the whole vocabulary at each position."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Continuation:
    """K tokens, drawn from the student as a rule, with what student and reference had read before them."""

    prompt: tuple[int, ...]
    reference_prompt: tuple[int, ...]
    """May say more than the student was told."""
    targets: tuple[int, ...]
    weights: tuple[float, ...]
    """One for each target."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """What the student reads: the last of its K last positions predicts the last target."""
        return self.prompt + self.targets[:-1]

    @property
    def reference_tokens(self) -> tuple[int, ...]:
        return self.reference_prompt + self.targets[:-1]


@dataclass(frozen=True, slots=True)
class Distillation:
    data: tuple[Continuation, ...]
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Distilled:
    losses: tuple[float, ...]
    """Per datum, summed over its positions."""
    metrics: Mapping[str, float]
    """Names are `<name>:<reduction>`."""


def summed_up(work: Distillation, losses: Sequence[float]) -> Distilled:
    """The losses with their metrics; a mean is over the positions whose weight is not 0."""
    total, count = sum(losses), sum(1 for _ in _weighed(work))
    mean = total / max(count, 1)
    metrics = {
        "loss:sum": total,
        "loss:mean": mean,
        "reverse_kl:mean": mean,
        "num_samples:sum": float(len(losses)),
        "num_tokens:sum": float(count),
    }
    return Distilled(tuple(losses), metrics)


def _weighed(work: Distillation) -> Iterator[float]:
    return (weight for datum in work.data for weight in datum.weights if weight)
