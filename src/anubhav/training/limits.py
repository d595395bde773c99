"""What a desk accepts. Everything cheap is checked here, before anything is journalled."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anubhav.errors import BadInput, TooLarge
from anubhav.types.arrays import Array
from anubhav.types.checkpoints import checked_name
from anubhav.types.models import Model
from anubhav.types.operations import Compute, Create, Load, Operation, Save, Step
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

LOSSES: Mapping[str, tuple[str, ...]] = {
    "cross_entropy": ("weights",),
    "importance_sampling": ("logprobs", "advantages"),
    "ppo": ("logprobs", "advantages"),
}
"""Each loss and what a datum must bring beside target_tokens."""


@dataclass(frozen=True, slots=True)
class Limits:
    models: Mapping[str, Model]
    losses: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: LOSSES)
    max_rank: int = 256
    max_data: int = 4096
    """Data in one pass."""
    max_seq: int = 1 << 40
    max_pending: int = 4096
    """How far a sequence number may be ahead of the last result of its run; beyond it Busy."""


def check(operation: Operation, base_model: str, limits: Limits) -> None:
    """Raises BadInput, saying what to change, when `operation` could never succeed on a run of `base_model`."""
    match operation:
        case Create(base, spec):
            check_spec(base, spec, limits)
        case Compute(work):
            _check_pass(work, limits.models[base_model], limits)
        case Step(params):
            _check_optimizer(params)
        case Save(_, name):
            checked_name(name)
        case Load():
            pass


def check_spec(base_model: str, spec: LoraSpec, limits: Limits) -> None:
    if base_model not in limits.models:
        raise BadInput(
            f"The model {base_model[:200]!r} is not served here", hint=f"Use one of: {', '.join(limits.models)}."
        )
    if not 1 <= spec.rank <= limits.max_rank:
        raise BadInput(f"rank {spec.rank} is outside 1..{limits.max_rank}", hint="Ranks of 8 to 64 suit most tasks.")
    if not (spec.train_attn or spec.train_mlp or spec.train_unembed):
        raise BadInput("Nothing would be trained", hint="Set train_attn, train_mlp or train_unembed.")


def _check_optimizer(params: OptimParams) -> None:
    bounds = {
        "learning_rate": (params.learning_rate, 0.0, 1e3),
        "beta1": (params.beta1, 0.0, 1.0),
        "beta2": (params.beta2, 0.0, 1.0),
        # At 0 a parameter without a gradient would move by 0 / 0.
        "eps": (params.eps, 1e-30, 1.0),
        "weight_decay": (params.weight_decay, 0.0, 1e3),
        "grad_clip_norm": (params.grad_clip_norm, 0.0, math.inf),
    }
    for name, (value, low, high) in bounds.items():
        if not (math.isfinite(value) and low <= value < high):
            raise BadInput(f"{name} is {value}, not a number in [{low}, {high})", hint="A usual learning rate is 1e-4.")


def _check_pass(work: Pass, model: Model, limits: Limits) -> None:
    if work.loss not in limits.losses:
        raise BadInput(f"The loss {work.loss[:100]!r} is unknown", hint=f"Use one of: {', '.join(limits.losses)}.")
    if not work.data:
        raise BadInput("The pass has no data", hint="Send at least one datum.")
    if len(work.data) > limits.max_data:
        raise TooLarge(
            f"{len(work.data)} data are more than {limits.max_data} in one pass", hint="Send several passes."
        )
    if not all(map(math.isfinite, work.config.values())):
        raise BadInput("A loss_fn_config value is not finite", hint="Send finite numbers.")
    for number, datum in enumerate(work.data):
        _check_datum(number, datum, limits.losses[work.loss], model)


def _check_datum(number: int, datum: Datum, needed: Iterable[str], model: Model) -> None:
    length = len(datum.tokens)
    if not 1 <= length <= model.context_length:
        raise TooLarge(f"Datum {number} has {length} tokens, outside 1..{model.context_length}", hint="Cut it.")
    if min(datum.tokens) < 0 or max(datum.tokens) >= model.vocab_size:
        raise BadInput(f"Datum {number} holds token ids outside 0..{model.vocab_size - 1}", hint=_TOKENIZE)
    targets = datum.inputs.get("target_tokens")
    if targets is None or targets.dtype == "float32" or targets.shape[:1] != (length,) or len(targets.shape) > 2:
        raise BadInput(
            f"Datum {number} needs integer target_tokens of shape ({length},) or ({length}, K)",
            hint="Position i of target_tokens is what should follow tokens 0..i.",
        )
    wanted = targets.tolist()
    if not wanted or min(wanted) < 0 or max(wanted) >= model.vocab_size:
        raise BadInput(f"Datum {number} has targets outside 0..{model.vocab_size - 1}", hint=_TOKENIZE)
    for name in needed:
        _check_input(number, name, datum.inputs.get(name), targets.shape)


def _check_input(number: int, name: str, values: Array | None, shape: tuple[int, ...]) -> None:
    if values is None or values.shape != shape or values.dtype != "float32":
        found = "nothing" if values is None else f"{values.dtype} {values.shape}"
        raise BadInput(
            f"Datum {number} needs {name} as float32 of shape {shape}, not {found}", hint="Align it to targets."
        )
    # A double cannot overflow by adding float32s, so the sum is finite when all of them are.
    if not math.isfinite(sum(values.tolist())):
        raise BadInput(f"Datum {number} has {name} that are not finite", hint="Look for NaN or infinity in your data.")


_TOKENIZE = "Tokenize with the model's own tokenizer."
