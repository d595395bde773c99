"""The recipes: hyper-parameters measured on SmolLM2-135M-Instruct (docs/lab-notes.md), one place for all of them.

Other models get these rates by the rule of Tinker's cookbook for LoRA (`get_lr`): 5e-5 · 10 · (2000 / hidden)^P with P
0.781 for Llama and 0.0775 for Qwen; ten times the rate of full fine-tuning, whatever the rank ("LoRA Without Regret").
For SmolLM2-135M it gives 1.3e-3, and 1.2e-3 was measured to be best. How much fewer passes a larger model needs was not
measured here.
"""

from dataclasses import dataclass, replace
from typing import Final

from anubhav.learning.policy import Objective
from anubhav.types.training import LoraSpec, OptimParams

STALEST: Final = 4
"""Laps since a policy spoke, beyond which its answers are liked or disliked as a whole and not reinforced by token."""


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


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What a lap may compute to answer recent prompts anew; beyond these it never goes."""

    prompts: int = 16
    samples: int = 4
    tokens: int = 96
    """Of one answer; what is cut there is not scored."""
    pessimism: float = 1.0
    """Deviations taken from the critic's mean: what it is unsure of is paid less."""
    most: float = 0.8
    """No answer is paid more: beyond it a critic is surer than people are."""
    events: int = 100
    """Judgements the critic has to have heard first …"""
    accuracy: float = 0.6
    """… the share of them it has to have foretold …"""
    reliable: int = 20
    """… and how many were of held-out or trusted people, foretold as often: else nobody would notice a cheat."""
    ece: float = 0.15


_SPEC = LoraSpec(rank=16, train_unembed=False)
"""Without the unembedding, which shifts every text: as much is learned, and less is forgotten (docs/lab-notes.md)."""
_ROLLOUTS = Rollouts()


@dataclass(frozen=True, slots=True)
class Preset:
    spec: LoraSpec = _SPEC
    imitation: Recipe = Recipe(steps=30, learning_rate=1.2e-3, decay=True)
    """More steps forget without learning more."""
    imitated: float = -0.1
    """Mean log-probability of a token at which the least sure of the corrections counts as learned: imitation ends …"""
    imitated_least: int = 10
    """… after so many steps at the earliest."""
    preference: Recipe = Recipe(steps=4, learning_rate=1e-4, warmup=1)
    """Of a lap whose pairs all come from corrections, which imitation has taught already."""
    comparisons: Recipe = Recipe(steps=12, learning_rate=1e-4, warmup=1)
    """Of a lap with others: nothing else teaches these."""
    beta: float = 0.1
    settled: float = 0.01
    """A mean DPO strength (of at most beta) below which the pairs are learned and no step is taken."""
    likings: Recipe = Recipe(steps=12, learning_rate=1e-4, warmup=1)
    """KTO; as DPO, of which it is the unpaired form."""
    judged_parts: int = 4
    """Minibatches that an epoch of comparisons or likings is dealt to, as far as each has `judged_least`."""
    judged_least: int = 2
    """Eight went over a few pairs twelve times, and the fewer the judgements the longer a lap took."""
    judged_epochs: int = 3
    """At most, as often as the recipes' steps come to over many: five likes are not worth twelve steps."""
    policy: Recipe = Recipe(steps=12, learning_rate=2e-4, warmup=1)
    """5e-4 collapses."""
    policy_parts: int = 4
    """Minibatches that an epoch of rated answers is dealt to."""
    objective: Objective = "grpo"
    cap: float = 2.0
    """The importance weight a token has at most, where the policy that sampled it was another one."""
    mismatch: float = 0.01
    """Nats per token that sampler and trainer may be apart on the incumbent's own answers; beyond, a lap rests.
    Tinker's documentation calls training stable below it; samplers in bfloat16 and int8 are at 0.001."""
    kl_penalty: float = 0.0
    """For each nat that a token goes away from the incumbent, what its advantage loses."""
    kl_budget: float = 0.5
    """Nats per token from the incumbent at which reinforcing ends."""
    rollouts: Rollouts = _ROLLOUTS
    anchors: int = 4
    """Anchors in each imitation step, taken in turn from all of them."""
    anchor_weight: float = 1.0
    """Of all anchors of a step together; the examples to imitate weigh 1. At 0.3 other text loses 0.13 nats per token,
    at 2.0 corrections are learned by half."""
    held: int = 3
    """Anchors in each step that teaches something else …"""
    held_weight: float = 1.0
    """… and what all of them weigh."""
    anchor_tokens: int = 40
    replayed: int = 8
    """Earlier corrections in each step, in turn."""
    kept_weight: float = 0.5
    """Of all corrections of a step that teaches something else. Nearly no gradient while they are answered rightly."""
    anchor_width: int = 16
    """The incumbent's likeliest tokens that an anchor holds to at each place."""


PRESET = Preset()
_MEASURED_HIDDEN = 576
_LARGE, _MEDIUM = 3_000_000_000, 400_000_000
"""Parameters."""


def lora_rate(hidden: int, family: str) -> float:
    """Tinker's cookbook's rate for supervised LoRA."""
    return 5e-4 * (2000 / hidden) ** (0.0775 if "qwen" in family.lower() else 0.781)


def preset_for(parameters: int, hidden: int, family: str) -> Preset:
    """`family`: the architecture's name. Up to 400M parameters the measured steps; then fewer, with a KL penalty."""
    scale = 1.0 if hidden == _MEASURED_HIDDEN else lora_rate(hidden, family) / lora_rate(_MEASURED_HIDDEN, "llama")
    passes = 30 if parameters < _MEDIUM else 20 if parameters < _LARGE else 12
    return replace(
        PRESET,
        spec=replace(_SPEC, rank=16 if parameters < _LARGE else 32),
        imitation=_scaled(replace(PRESET.imitation, steps=passes), scale),
        preference=_scaled(PRESET.preference, scale),
        comparisons=_scaled(PRESET.comparisons, scale),
        likings=_scaled(PRESET.likings, scale),
        policy=_scaled(PRESET.policy, scale),
        kl_penalty=0.0 if parameters < _MEDIUM else 0.02,
    )


def _scaled(recipe: Recipe, scale: float) -> Recipe:
    return replace(recipe, learning_rate=recipe.learning_rate * scale)
