"""The course of a fine-tuning job: how often which examples are seen, at which rate. What is left open is chosen by the
recipe for the model's size (`learning.presets`) and the length of the file.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from anubhav.learning.presets import Preset, Recipe
from anubhav.types.training import OptimParams
from anubhav.types.tuning import Hyperparameters, Method

_EPOCHS = 3
_PARTS, _BATCH = 4, 16
"""An epoch of a short file is so many steps, as a lap deals judgements; of a longer one each has so many examples."""


@dataclass(frozen=True, slots=True)
class Course:
    examples: int
    epochs: int
    batch: int
    multiplier: float
    beta: float
    seed: int
    recipe: Recipe
    """Of all its steps."""

    @property
    def steps_an_epoch(self) -> int:
        return math.ceil(self.examples / self.batch)

    @property
    def hyperparameters(self) -> Hyperparameters:
        return Hyperparameters(self.epochs, self.batch, self.multiplier, self.beta)

    def batches(self, epoch: int) -> Iterator[tuple[int, ...]]:
        """The examples of each step of an epoch: all of them once, in an order of its own."""
        order = list(range(self.examples))
        random.Random(f"{self.seed} {epoch}").shuffle(order)
        for first in range(0, self.examples, self.batch):
            yield tuple(order[first : first + self.batch])

    def at(self, step: int) -> OptimParams:
        """Steps are counted from 0 over all epochs."""
        return self.recipe.at(step)


def plan_course(asked: Hyperparameters, method: Method, examples: int, preset: Preset, seed: int) -> Course:
    """Three epochs, or as many more as it takes to come to the recipe's steps."""
    base = preset.imitation if method == "supervised" else preset.comparisons
    batch = min(asked.batch_size or min(math.ceil(examples / _PARTS), _BATCH), examples)
    steps = math.ceil(examples / batch)
    epochs = asked.n_epochs or max(_EPOCHS, math.ceil(base.steps / steps))
    multiplier = asked.learning_rate_multiplier or 1.0
    recipe = replace(base, steps=steps * epochs, learning_rate=base.learning_rate * multiplier)
    return Course(examples, epochs, batch, multiplier, asked.beta or preset.beta, seed, recipe)
