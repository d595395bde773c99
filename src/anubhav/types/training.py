"""What a trainer is asked and answers: LoRA shapes, data, passes over them, optimizer steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anubhav.errors import AnubhavError
from anubhav.types.arrays import Array
from anubhav.types.graphs import LossGraph
from anubhav.types.ids import AdapterId


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """The shape of an adapter, as Tinker's `LoraConfig` gives it: W' = W + (alpha / rank) B A."""

    rank: int = 32
    seed: int = 0
    """Seeds A's initial values; B starts at zero."""
    train_attn: bool = True
    train_mlp: bool = True
    train_unembed: bool = True
    alpha: float = 32.0
    """Not on Tinker's wire; fixed at 32 so that the best learning rate does not depend on the rank."""
    optimizer: str = "adamw"
    """The family of its steps, fixed for the life of a run."""


ROUTES = "routed_experts"
"""The input of a datum that says which experts its tokens went to when they were sampled, so that they go there again:
integers of shape (N, mixtures, experts of a token), -1 in a token's place to let it choose anew. Layers without experts
are not counted.
"""


@dataclass(frozen=True, slots=True)
class Datum:
    """One sequence of N tokens; token i predicts `inputs["target_tokens"][i]`."""

    tokens: tuple[int, ...]
    inputs: Mapping[str, Array]
    """By name: target_tokens (int64) of shape (N,) or (N, K), and in that shape what the loss asks for.

    A model of experts also takes ROUTES.
    """


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward, or forward and backward, over some data of one adapter. Gradients add up until the next step."""

    adapter: AdapterId
    data: tuple[Datum, ...]
    loss: str
    config: Mapping[str, float | str] = field(default_factory=dict[str, float | str])
    """The loss's options, `types.losses` says which."""
    backward: bool = True
    graph: LossGraph | None = None
    """What to compute when the loss is `custom`."""


@dataclass(frozen=True, slots=True)
class PassResult:
    logprobs: tuple[Array, ...] = ()
    """Per datum, float32 of its target_tokens' shape: the log-probability of each target."""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """Names are `<name>:<reduction>` with exactly one colon; `loss:sum` is always there."""
    failure: AnubhavError | None = None
    """Set when this pass failed; the other passes of the same call are not touched by it."""


@dataclass(frozen=True, slots=True)
class OptimParams:
    """One step of AdamW with decoupled weight decay, or of Dimuon, which reads no beta2, eps and weight_decay.

    The defaults are the Tinker SDK's (types/optimizer.py).
    """

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-12
    weight_decay: float = 0.0
    grad_clip_norm: float = 0.0
    """Global norm; 0 turns clipping off."""
    family: str = "adamw"
    """One of OPTIMIZERS, and that of the run."""


OPTIMIZERS = ("adamw", "dimuon")
