"""The recipes: hyper-parameters measured on SmolLM2-135M-Instruct (docs/lab-notes.md), one place for all of them."""

from dataclasses import dataclass

from anubhav.types.training import LoraSpec, OptimParams


@dataclass(frozen=True, slots=True)
class Recipe:
    steps: int
    learning_rate: float
    warmup: int = 3
    decay: bool = False
    """Linearly towards zero at the last step."""

    def at(self, step: int) -> OptimParams:
        """The optimizer's parameters at a step counted from 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / self.warmup)
        return OptimParams(learning_rate=rate * (1.0 - step / self.steps) if self.decay else rate)


_SPEC = LoraSpec(rank=16)


@dataclass(frozen=True, slots=True)
class Preset:
    spec: LoraSpec = _SPEC
    imitation: Recipe = Recipe(steps=30, learning_rate=1.2e-3, decay=True)
    """More steps forget without learning more."""
    preference: Recipe = Recipe(steps=4, learning_rate=1e-4, warmup=1)
    beta: float = 0.1
    settled: float = 0.01
    """A mean DPO strength (of at most beta) below which the pairs are learned and no step is taken."""
    policy: Recipe = Recipe(steps=12, learning_rate=2e-4, warmup=1)
    """5e-4 collapses."""
    policy_parts: int = 4
    """Minibatches that an epoch of rated answers is dealt to."""
    anchors: int = 4
    """Anchors in each imitation step, taken in turn from all of them."""
    anchor_weight: float = 1.0
    """Of all anchors of a step together; the examples to imitate weigh 1. At 0.3 other text loses 0.13 nats per token,
    at 2.0 corrections are learned by half."""
    anchor_tokens: int = 40
    replayed: int = 8
    """Earlier corrections in each imitation step, in turn."""
    anchor_width: int = 16
    """The incumbent's likeliest tokens that an anchor holds to at each place."""


PRESET = Preset()
