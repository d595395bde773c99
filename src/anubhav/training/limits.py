"""What a desk accepts. Everything cheap is checked here, before anything is journalled."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anubhav.errors import BadInput, TooLarge
from anubhav.training.distilling import check_distillation
from anubhav.training.graphs import check_fit
from anubhav.types.arrays import Array
from anubhav.types.checkpoints import checked_name
from anubhav.types.losses import CLIP_HINT, LOSSES, Level, LossInfo, level_of, options_of
from anubhav.types.models import Model
from anubhav.types.operations import Compute, Create, Distil, Load, Operation, Save, Step
from anubhav.types.training import OPTIMIZERS, Datum, LoraSpec, OptimParams, Pass


@dataclass(frozen=True, slots=True)
class Limits:
    models: Mapping[str, Model]
    max_rank: int = 256
    max_data: int = 4096
    """Data in one pass."""
    max_seq: int = 1 << 40
    max_pending: int = 4096
    """How far a sequence number may be ahead of the last result of its run; beyond it Busy."""


def check(operation: Operation, base_model: str, spec: LoraSpec, limits: Limits) -> None:
    """Raises BadInput, saying what to change, when `operation` could never succeed on a run of this model and shape."""
    match operation:
        case Create(base, wanted):
            check_spec(base, wanted, limits)
        case Compute(work):
            _check_pass(work, limits.models[base_model], limits)
        case Step(params):
            _check_step(params, spec.optimizer)
        case Save(_, name):
            checked_name(name)
        case Distil(work):
            check_distillation(work, limits.models[base_model], limits.max_data)
        case Load(_, _, family):
            _check_family(family or spec.optimizer)
            if family not in (None, spec.optimizer):
                raise BadInput(
                    f"This run's optimizer is {spec.optimizer}, not {family}", hint="Leave optimizer_config out."
                )


def check_spec(base_model: str, spec: LoraSpec, limits: Limits) -> None:
    if base_model not in limits.models:
        raise BadInput(
            f"The model {base_model[:200]!r} is not served here", hint=f"Use one of: {', '.join(limits.models)}."
        )
    if not 1 <= spec.rank <= limits.max_rank:
        raise BadInput(f"rank {spec.rank} is outside 1..{limits.max_rank}", hint="Ranks of 8 to 64 suit most tasks.")
    if not (spec.train_attn or spec.train_mlp or spec.train_unembed):
        raise BadInput("Nothing would be trained", hint="Set train_attn, train_mlp or train_unembed.")
    _check_family(spec.optimizer)


def _check_family(family: str) -> None:
    if family not in OPTIMIZERS:
        raise BadInput(f"The optimizer {family[:50]!r} is unknown", hint=f"Use one of: {', '.join(OPTIMIZERS)}.")


def _check_step(params: OptimParams, family: str) -> None:
    _check_family(params.family)
    if params.family != family:
        raise BadInput(
            f"This run was created with {family}, so {params.family} cannot step it",
            hint="Send the parameters of its own optimizer, or open another run.",
        )
    bounds = {
        "learning_rate": (params.learning_rate, 0.0, 1e3),
        "beta1": (params.beta1, 0.0, 1.0),
        "beta2": (params.beta2, 0.0, 1.0),
        # At 0 a parameter without a gradient would move by 0 / 0.
        "eps": (params.eps, 1e-30, 1.0),
        "weight_decay": (params.weight_decay, 0.0, 1e3),
        # Dimuon's negative norms turn clipping off, as 0 does.
        "grad_clip_norm": (params.grad_clip_norm, -math.inf if family == "dimuon" else 0.0, math.inf),
    }
    for name, (value, low, high) in bounds.items():
        if not (math.isfinite(value) and low <= value < high):
            raise BadInput(f"{name} is {value}, not a number in [{low}, {high})", hint="A usual learning rate is 1e-4.")


def _check_pass(work: Pass, model: Model, limits: Limits) -> None:
    options = options_of(work.loss, work.config)
    if not work.data:
        raise BadInput("The pass has no data", hint="Send at least one datum.")
    if len(work.data) > limits.max_data:
        raise TooLarge(
            f"{len(work.data)} data are more than {limits.max_data} in one pass", hint="Send several passes."
        )
    if (LOSSES[work.loss].level == "graph") != (work.graph is not None):
        raise BadInput(f"The loss {work.loss} and the pass's graph do not fit", hint="A graph is the loss custom.")
    for number, datum in enumerate(work.data):
        _check_datum(number, datum, model)
        _check_targets(number, datum, level_of(work.loss, options))
        _check_inputs(number, datum, LOSSES[work.loss], options)
        if work.graph:
            check_fit(number, datum, work.graph)


def _check_datum(number: int, datum: Datum, model: Model) -> None:
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


def _check_targets(number: int, datum: Datum, level: Level) -> None:
    if level == "datum" and len(datum.inputs["target_tokens"].shape) != 1:
        raise BadInput(f"Datum {number} has several targets to a position", hint="This loss takes one to each.")


def _check_inputs(number: int, datum: Datum, info: LossInfo, options: Mapping[str, float]) -> None:
    targets = datum.inputs["target_tokens"]
    for name in (*info.inputs, *info.per_token):
        if name in info.inputs or name in datum.inputs:
            _check_input(number, name, datum.inputs.get(name), targets.shape)
    if any(name in datum.inputs for name in info.per_token):
        columns = [_per_token(datum, name, options[name]) for name in info.per_token]
        if any(low > high for low, high in zip(*columns, strict=True)):
            raise BadInput(f"Datum {number} has a clip_low_threshold above its clip_high_threshold", hint=CLIP_HINT)
    if "sequence_ratio_mask" in info.inputs and not any(datum.inputs["sequence_ratio_mask"].tolist()):
        raise BadInput(f"Datum {number} has a sequence_ratio_mask of zeros", hint="Mark its sampled tokens.")


def _per_token(datum: Datum, name: str, option: float) -> Sequence[float]:
    count = math.prod(datum.inputs["target_tokens"].shape)
    return datum.inputs[name].tolist() if name in datum.inputs else [option] * count


def _check_input(number: int, name: str, values: Array | None, shape: tuple[int, ...]) -> None:
    if values is None or values.shape != shape:
        found = "nothing" if values is None else values.shape
        raise BadInput(f"Datum {number} needs {name} of shape {shape}, not {found}", hint="Align it to targets.")
    # A double cannot overflow by adding float32s, so the sum is finite when all of them are.
    if not math.isfinite(sum(values.tolist())):
        raise BadInput(f"Datum {number} has {name} that are not finite", hint="Look for NaN or infinity in your data.")


_TOKENIZE = "Tokenize with the model's own tokenizer."
