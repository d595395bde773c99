"""A Gaussian belief about the weights of a linear head, which takes each judgement as one small exact step.

A judgement's likelihood is logistic in w·x and is replaced by a Gaussian site at its mode (Laplace, in the direction it
speaks of; Spiegelhalter and Lauritzen, 1990, for the sequential form). Sites add up in information form, so one can
be taken back, weighed anew, or left to fade; the covariance follows by the rank-one formula of Sherman and Morrison.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

_KAPPA = math.pi / 8
"""MacKay's approximation of a logistic averaged over a Gaussian (1992)."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a judgement adds: `precision` x xᵀ to the information, `linear` x to its vector."""

    precision: float
    linear: float


@dataclass(frozen=True, slots=True)
class Guess:
    """A logit and its variance."""

    mean: float
    variance: float

    @property
    def chance(self) -> float:
        """Of a yes, over everything the weights may be."""
        return logistic(self.mean / math.sqrt(1 + _KAPPA * self.variance))


def logistic(value: float) -> float:
    if value < 0:
        small = math.exp(max(value, -700.0))
        return small / (1 + small)
    return 1 / (1 + math.exp(-value))


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(map(mul, a, b))


def site(guess: Guess, wanted: float, weight: float) -> tuple[Site, float]:
    """The site of a judgement `wanted` (0 to 1), and the logit at its mode."""
    variance = max(guess.variance, 1e-9)
    z = guess.mean
    for _ in range(6):
        chance = logistic(z)
        slope = (z - guess.mean) / variance - weight * (wanted - chance)
        z -= max(-4.0, min(4.0, slope / (1 / variance + weight * chance * (1 - chance))))
    chance = logistic(z)
    precision = max(weight * chance * (1 - chance), 1e-6 * weight)
    return Site(precision, precision * z + weight * (wanted - chance)), z


class Posterior:
    def __init__(self, prior: Sequence[float]) -> None:
        """`prior`: the precision of each weight before anybody said anything."""
        self._prior = list(prior)
        size = len(prior)
        self._information = [[0.0] * (row + 1) for row in range(size)]
        """What the sites added; rows of the lower triangle."""
        self._vector = [0.0] * size
        self._covariance = [[1 / prior[row] if row == column else 0.0 for column in range(size)] for row in range(size)]
        self._mean = [0.0] * size

    def guess(self, x: Sequence[float]) -> Guess:
        spread = [dot(row, x) for row in self._covariance]
        return Guess(dot(self._mean, x), max(dot(spread, x), 0.0))

    def mean(self, x: Sequence[float]) -> float:
        return dot(self._mean, x)

    def weight(self, place: int) -> float:
        """The expected weight at a place."""
        return self._mean[place]

    def absorb(self, x: Sequence[float], one: Site, times: float = 1.0) -> None:
        """Add the site `times`; a negative number takes it back."""
        precision, linear = one.precision * times, one.linear * times
        spread = [dot(row, x) for row in self._covariance]
        own = dot(spread, x)
        gain = precision / max(1 + precision * own, 1e-3)
        before = dot(self._mean, x)
        move = linear - gain * (before + linear * own)
        self._mean = [mean + move * part for mean, part in zip(self._mean, spread, strict=True)]
        # Both triangles to the last bit the same, as one of them is what is kept.
        scale, sign = math.sqrt(abs(gain)), math.copysign(1.0, gain)
        scaled = [scale * part for part in spread]
        for row, part in enumerate(scaled):
            step = sign * part
            self._covariance[row] = [
                value - step * other for value, other in zip(self._covariance[row], scaled, strict=True)
            ]
        self._add(x, precision, linear)

    def withdraw(self, sites: Sequence[tuple[Sequence[float], Site, float]]) -> None:
        """Take many back at once: (x, site, times)."""
        for x, one, times in sites:
            self._add(x, -one.precision * times, -one.linear * times)
        self.settle()

    def fade(self, share: float) -> None:
        """Keep this share of all that was said."""
        self._information = [[value * share for value in row] for row in self._information]
        self._vector = [value * share for value in self._vector]
        self.settle()

    def settle(self) -> None:
        """Mean and covariance anew from the information: also what keeps rounding from adding up."""
        full = [list(row) for row in self._information]
        for place, precision in enumerate(self._prior):
            full[place][place] += precision
        self._covariance = _inverse(full)
        self._mean = [dot(row, self._vector) for row in self._covariance]

    def _add(self, x: Sequence[float], precision: float, linear: float) -> None:
        for row, part in enumerate(x):
            if part:
                step = precision * part
                self._information[row] = [
                    value + step * other for value, other in zip(self._information[row], x, strict=False)
                ]
        self._vector = [value + linear * part for value, part in zip(self._vector, x, strict=True)]

    def pack(self) -> bytes:
        """Exactly this belief."""
        values = array("d", self._prior)
        values.extend(self._vector)
        values.extend(self._mean)
        for row in self._information:
            values.extend(row)
        for place, row in enumerate(self._covariance):
            values.extend(row[: place + 1])
        return values.tobytes()

    @classmethod
    def unpack(cls, packed: bytes) -> "Posterior":
        values = array("d")
        values.frombytes(packed)
        size = round((-4 + math.sqrt(16 + 4 * len(values))) / 2)
        found = cls(values[:size].tolist())
        found._vector = values[size : 2 * size].tolist()
        found._mean = values[2 * size : 3 * size].tolist()
        at = 3 * size
        for row in range(size):
            found._information[row] = values[at : at + row + 1].tolist()
            at += row + 1
        for row in range(size):
            part = values[at : at + row + 1].tolist()
            found._covariance[row][: row + 1] = part
            for column in range(row):
                found._covariance[column][row] = part[column]
            at += row + 1
        return found


def _inverse(full: list[list[float]]) -> list[list[float]]:
    """Of a positive definite matrix given by its lower triangle, by Cholesky; both triangles."""
    size = len(full)
    lower: list[list[float]] = []
    for row in range(size):
        line: list[float] = []
        for column in range(row):
            above = lower[column]
            line.append((full[row][column] - dot(line, above)) / above[column])
        line.append(math.sqrt(max(full[row][row] - dot(line, line), 1e-12)))
        lower.append(line)
    # Columns of the inverse of the lower factor, each from its own row on.
    columns: list[list[float]] = []
    for column in range(size):
        part = [1 / lower[column][column]]
        for row in range(column + 1, size):
            part.append(-dot(lower[row][column:row], part) / lower[row][row])
        columns.append(part)
    found = [[0.0] * size for _ in range(size)]
    for row in range(size):
        for column in range(row + 1):
            value = dot(columns[row], columns[column][row - column :])
            found[row][column] = found[column][row] = value
    return found


class Heat:
    """How much surer, or less sure, predictions turn out than they should be: one number, learned as votes come.

    The scale of the logits that makes them calibrated (Platt, 1999), as its logarithm with a variance of its own.
    """

    def __init__(self, log: float = 0.0, variance: float = 0.1) -> None:
        self.log, self.variance = log, variance

    def warmed(self, guess: Guess) -> Guess:
        scale = math.exp(self.log)
        return Guess(guess.mean * scale, guess.variance * scale * scale)

    def learn(self, guess: Guess, wanted: float, weight: float) -> None:
        """From a prediction and what came, before anything else is learned of it."""
        flat = guess.mean * math.exp(self.log) / math.sqrt(1 + _KAPPA * guess.variance * math.exp(2 * self.log))
        chance = logistic(flat)
        self.variance = 1 / (1 / self.variance + weight * chance * (1 - chance) * flat * flat) + 2e-4
        self.log += weight * self.variance * (wanted - chance) * flat
        self.log = max(-1.5, min(1.5, self.log))
