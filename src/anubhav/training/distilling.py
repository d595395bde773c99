"""What a desk accepts of a reverse KL: its continuations, and the reference they are held against."""

import math
from dataclasses import replace

from anubhav.errors import BadInput, NotFound, TooLarge
from anubhav.store.runs import RunRow
from anubhav.training.checkpoints import Checkpoints
from anubhav.types.checkpoints import parse_path
from anubhav.types.distilling import Continuation, Distillation
from anubhav.types.models import Model
from anubhav.types.operations import Distil

_COOLEST, _HOTTEST = 0.01, 100.0


def check_distillation(work: Distillation, model: Model, most: int) -> None:
    """Raises BadInput, saying what to change, for what could not be computed; `most` data are allowed."""
    if not work.data:
        raise BadInput("The pass has no data", hint="Send at least one datum.")
    if len(work.data) > most:
        raise TooLarge(f"{len(work.data)} data are more than {most} in one pass", hint="Send several passes.")
    if not _COOLEST <= work.temperature <= _HOTTEST:
        raise BadInput(f"temperature {work.temperature} is outside {_COOLEST}..{_HOTTEST}", hint="It is usually 1.")
    for number, datum in enumerate(work.data):
        _check(number, datum, model)


def _check(number: int, datum: Continuation, model: Model) -> None:
    for name, tokens in (
        ("student_input", datum.prompt),
        ("reference_input", datum.reference_prompt),
        ("target_tokens", datum.targets),
    ):
        if not tokens:
            raise BadInput(f"Datum {number} has no {name}", hint="It needs at least one token.")
        if min(tokens) < 0 or max(tokens) >= model.vocab_size:
            raise BadInput(
                f"Datum {number} has {name} outside 0..{model.vocab_size - 1}",
                hint="Tokenize with the model's own tokenizer.",
            )
    if len(datum.weights) != len(datum.targets):
        raise BadInput(
            f"Datum {number} has {len(datum.weights)} weights for {len(datum.targets)} target_tokens",
            hint="Send one weight for each target; the inputs are the prompts alone.",
        )
    if not all(map(math.isfinite, datum.weights)):
        raise BadInput(f"Datum {number} has weights that are not finite", hint="Look for NaN or infinity.")
    length = max(len(datum.tokens), len(datum.reference_tokens))
    if length > model.context_length:
        raise TooLarge(f"Datum {number} has {length} tokens, more than {model.context_length}", hint="Cut it.")


async def with_files(operation: Distil, tenant: str, run: RunRow, checkpoints: Checkpoints) -> Distil:
    """The operation with the files of its reference. Raises NotFound for a checkpoint that `tenant` cannot read."""
    if operation.reference == run.base_model:
        return replace(operation, files=None)
    if not operation.reference.startswith("tinker://"):
        raise NotFound(
            f"There is no reference {operation.reference[:200]!r}",
            hint=f"Give the path of a checkpoint, or {run.base_model}, the base model of this run.",
        )
    found, files = await checkpoints.keep(tenant, str(parse_path(operation.reference)))
    if found.base_model != run.base_model:
        raise BadInput(
            f"{operation.reference} was trained from {found.base_model}, this run from {run.base_model}",
            hint="Student and reference need one vocabulary: use a checkpoint of the same base model.",
        )
    return replace(operation, files=files)
