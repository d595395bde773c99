"""Learn: a policy's weights from what turned out to be needed.

Two teachers for the same few numbers. `fit` is told which chunks later answers drew on and regresses on it; `reinforce`
is told only whether whole answers would have been right, tries out what to keep, and makes the choices that did better
than the others likelier. Plain Python: a policy has a dozen weights, and its data are thousands of rows at most.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anubhav.memory.features import NAMES
from anubhav.memory.solving import solve
from anubhav.types.memory import MemoryPolicy

_DRAWS = 8
_PRICE = 0.1
_RATE = 0.03
_STEPS = 12
_CAP = 20.0
_PRIOR = 4.0
"""Examples that a weight's start counts for: with little to learn from, little changes."""


@dataclass(frozen=True, slots=True)
class Example:
    """A chunk and whether something later drew on it."""

    features: Mapping[str, float]
    needed: float
    weight: float = 1.0
    tokens: int = 0
    """Of its whole line; 0: not counted, in labels of earlier days."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A moment when not everything fitted, and what was asked later."""

    features: tuple[Mapping[str, float], ...]
    tokens: tuple[int, ...]
    needs: tuple[frozenset[int], ...]
    """Per later question, the chunks without which it cannot be answered."""
    budget: int


def imagine(examples: Sequence[Example]) -> Scene | None:
    """The moment of one judged reply, with room for half of its chunks; None where their tokens were not counted."""
    tokens = tuple(one.tokens for one in examples)
    needed = frozenset(i for i, one in enumerate(examples) if one.needed)
    return Scene(tuple(one.features for one in examples), tokens, (needed,), sum(tokens) // 2) if all(tokens) else None


def fit(examples: Sequence[Example], start: MemoryPolicy, name: str, prior: float = _PRIOR) -> MemoryPolicy:
    """Poisson regression: a chunk's score becomes how many later answers draw on it, up to a factor for all.

    Newton's method on sum weight (needed (w·f + c) - exp(w·f + c)) - prior / 2 |w - start|^2.
    """
    rows = [([1.0, *_vector(one.features)], one.needed, one.weight) for one in examples if one.weight > 0]
    if not any(needed > 0 for _, needed, _ in rows):
        return replace(start, name=name)
    centre = [0.0, *_vector(start.weights)]
    weights = list(centre)
    weights[0] = math.log(sum(n * w for _, n, w in rows) / sum(w * _rate(centre, f) for f, _, w in rows))
    for _ in range(_STEPS):
        slope, curve = _derivatives(rows, weights, centre, prior)
        change = solve(curve, slope)
        # A long step is shortened: exp() is steep on the far side.
        longest = max(map(abs, change))
        weights = [w + c * min(1.0, 1 / longest) for w, c in zip(weights, change, strict=True)]
        if longest < 1e-6:
            break
    return replace(start, name=name, weights=dict(zip(NAMES, weights[1:], strict=True)))


def reinforce(
    scenes: Sequence[Scene], start: MemoryPolicy, name: str, *, seed: int = 0, rounds: int = 30
) -> MemoryPolicy:
    """REINFORCE on independent decisions, with the mean of the other draws as the baseline.

    Chunk i is kept with probability s_i / (s_i + theta), theta such that the budget is met in the mean; the reward of a
    draw is the share of questions answerable from what is kept, less _PRICE x tokens / budget. Adam with step _RATE.
    The slope is that of log p with theta following the weights.
    """
    rng = random.Random(seed)
    weights, mean, square, step = _vector(start.weights), [0.0] * len(NAMES), [0.0] * len(NAMES), 0
    rows = [(scene, [_vector(features) for features in scene.features]) for scene in scenes if any(scene.needs)]
    for _ in range(rounds):
        rng.shuffle(rows)
        for scene, vectors in rows:
            slope = _policy_slope(scene, vectors, weights, rng)
            step += 1
            for i, value in enumerate(slope):
                mean[i] = 0.9 * mean[i] + 0.1 * value
                square[i] = 0.99 * square[i] + 0.01 * value * value
                scale = math.sqrt(square[i] / (1 - 0.99**step)) + 1e-8
                weights[i] += _RATE * mean[i] / (1 - 0.9**step) / scale
    return replace(start, name=name, weights=dict(zip(NAMES, weights, strict=True)))


def answerable(scene: Scene, policy: MemoryPolicy) -> float:
    """Share of the scene's questions answerable when the best chunks by score are kept, as many as fit."""
    weights = _vector(policy.weights)
    scores = [_rate(weights, _vector(features)) for features in scene.features]
    kept: set[int] = set()
    left = scene.budget
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if scene.tokens[i] <= left:
            kept.add(i)
            left -= scene.tokens[i]
    asked = [needs for needs in scene.needs if needs]
    return sum(needs <= kept for needs in asked) / (len(asked) or 1)


def _policy_slope(
    scene: Scene, vectors: Sequence[Sequence[float]], weights: Sequence[float], rng: random.Random
) -> list[float]:
    scores = [_rate(weights, vector) for vector in vectors]
    theta = _threshold(scores, scene.tokens, scene.budget)
    chances = [score / (score + theta) for score in scores]
    vectors = _centred(vectors, [t * chance * (1 - chance) for t, chance in zip(scene.tokens, chances, strict=True)])
    choices = [[rng.random() < chance for chance in chances] for _ in range(_DRAWS)]
    rewards = [_reward(scene, choice) for choice in choices]
    total, slope = sum(rewards), [0.0] * len(weights)
    for choice, reward in zip(choices, rewards, strict=True):
        better = reward - (total - reward) / (_DRAWS - 1)
        for kept, chance, vector in zip(choice, chances, vectors, strict=True):
            for i, value in enumerate(vector):
                slope[i] += better * (kept - chance) * value / _DRAWS
    return slope


def _centred(vectors: Sequence[Sequence[float]], shares: Sequence[float]) -> list[list[float]]:
    """Less their mean: d log theta / d weights. What lifts all scores lifts theta as well and keeps nothing more."""
    total = sum(shares) or 1.0
    columns = zip(*vectors, strict=True)
    middle = [sum(share * v for share, v in zip(shares, column, strict=True)) / total for column in columns]
    return [[value - mean for value, mean in zip(vector, middle, strict=True)] for vector in vectors]


def _reward(scene: Scene, choice: Sequence[bool]) -> float:
    asked = [needs for needs in scene.needs if needs]
    right = sum(all(choice[i] for i in needs) for needs in asked) / len(asked)
    return right - _PRICE * sum(t for t, kept in zip(scene.tokens, choice, strict=True) if kept) / scene.budget


def _threshold(scores: Sequence[float], tokens: Sequence[int], budget: int) -> float:
    """The theta at which the tokens kept in the mean are the budget."""
    low, high = 1e-9, 1e9
    for _ in range(50):
        middle = math.sqrt(low * high)
        if sum(t * s / (s + middle) for s, t in zip(scores, tokens, strict=True)) > budget:
            low = middle
        else:
            high = middle
    return high


def _derivatives(
    rows: Sequence[tuple[list[float], float, float]], weights: Sequence[float], centre: Sequence[float], prior: float
) -> tuple[list[float], list[list[float]]]:
    """Slope and (negative) curvature of the penalised likelihood."""
    size = len(weights)
    slope = [0.0 if i == 0 else prior * (centre[i] - weights[i]) for i in range(size)]
    curve = [[(prior if i else 1e-6) * (i == j) for j in range(size)] for i in range(size)]
    for features, needed, weight in rows:
        expected = weight * _rate(weights, features)
        for i, value in enumerate(features):
            if value:
                slope[i] += (weight * needed - expected) * value
                row, scaled = curve[i], expected * value
                for j in range(i + 1):
                    row[j] += scaled * features[j]
    for i in range(size):
        for j in range(i):
            curve[j][i] = curve[i][j]
    return slope, curve


def _rate(weights: Sequence[float], features: Sequence[float]) -> float:
    total = sum(weight * value for weight, value in zip(weights, features, strict=True))
    return math.exp(max(-_CAP, min(_CAP, total)))


def _vector(named: Mapping[str, float]) -> list[float]:
    return [named.get(name, 0.0) for name in NAMES]
