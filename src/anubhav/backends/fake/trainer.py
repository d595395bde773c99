"""The Trainer port over the table."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anubhav.backends.fake.files import OPTIMIZER, WEIGHTS, read_rows, read_spec, write_rows, write_spec
from anubhav.backends.fake.losses import LOSSES
from anubhav.backends.fake.table import Rows, add_gradient, logprobs
from anubhav.errors import AnubhavError, BadInput, NotFound
from anubhav.types.arrays import Array, floats
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult


@dataclass(slots=True)
class Pupil:
    spec: LoraSpec
    rows: Rows = field(default_factory=dict[str, list[float]])
    first: Rows = field(default_factory=dict[str, list[float]])
    second: Rows = field(default_factory=dict[str, list[float]])
    gradient: Rows = field(default_factory=dict[str, list[float]])
    steps: int = 0

    @property
    def scale(self) -> float:
        return self.spec.alpha / 32.0


class FakeTrainer:
    def __init__(self, vocab: int) -> None:
        self._vocab = vocab
        self._pupils: dict[AdapterId, Pupil] = {}

    async def create(self, adapter: AdapterId, spec: LoraSpec) -> None:
        self._pupils[adapter] = Pupil(spec)

    async def run(self, passes: Sequence[Pass]) -> Sequence[PassResult]:
        return [await self._run(work) for work in passes]

    async def step(self, adapter: AdapterId, params: OptimParams) -> Mapping[str, float]:
        pupil = self._pupil(adapter)
        gradient, pupil.gradient = pupil.gradient, {}
        norm = math.sqrt(sum(value * value for row in gradient.values() for value in row))
        if not math.isfinite(norm):
            raise BadInput("The gradient is not finite, so no step was taken", hint="Lower the advantages or weights.")
        shrink = params.grad_clip_norm / norm if 0 < params.grad_clip_norm < norm else 1.0
        pupil.steps += bool(gradient)
        for name in sorted(pupil.first.keys() | gradient.keys()) if gradient else ():
            _update(pupil, name, [shrink * value for value in gradient.get(name, [0.0] * self._vocab)], params)
        return {"grad_norm": norm, "learning_rate": params.learning_rate, "step": float(pupil.steps)}

    async def save(self, adapter: AdapterId, to: Path, *, optimizer: bool) -> None:
        pupil = self._pupil(adapter)
        write_spec(to, pupil.spec)
        write_rows(to / WEIGHTS, pupil.rows)
        if optimizer:
            moments = {f"first.{name}": row for name, row in pupil.first.items()}
            moments |= {f"second.{name}": row for name, row in pupil.second.items()}
            write_rows(to / OPTIMIZER, {**moments, "steps": [float(pupil.steps)]})

    async def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        pupil = Pupil(read_spec(source), read_rows(source / WEIGHTS))
        if optimizer and (source / OPTIMIZER).exists():
            moments = read_rows(source / OPTIMIZER)
            pupil.steps = int(moments.pop("steps")[0])
            for name, row in moments.items():
                kind, _, rest = name.partition(".")
                (pupil.first if kind == "first" else pupil.second)[rest] = row
        self._pupils[adapter] = pupil

    async def drop(self, adapter: AdapterId) -> None:
        self._pupils.pop(adapter, None)

    def _pupil(self, adapter: AdapterId) -> Pupil:
        if adapter not in self._pupils:
            raise NotFound(f"The trainer has no adapter {adapter}", hint="Create or load it first.")
        return self._pupils[adapter]

    async def _run(self, work: Pass) -> PassResult:
        try:
            pupil = self._pupil(work.adapter)
            if work.loss not in LOSSES:
                raise BadInput(f"The loss {work.loss!r} is unknown", hint=f"Use one of {', '.join(LOSSES)}.")
            gradient: Rows = {}
            outputs: list[Array] = []
            total = 0.0
            for datum in work.data:
                values, loss = self._learn(pupil, work, datum, gradient)
                outputs.append(floats(values, datum.inputs["target_tokens"].shape))
                total += loss
                await asyncio.sleep(0)
        except AnubhavError as failure:
            return PassResult(failure=failure)
        if work.backward:
            _add(pupil.gradient, gradient)
        return PassResult(tuple(outputs), {"loss:sum": total})

    def _learn(self, pupil: Pupil, work: Pass, datum: Datum, gradient: Rows) -> tuple[list[float], float]:
        """Log-probabilities of the datum's targets and its loss; adds to `gradient` when asked to."""
        compute, names = LOSSES[work.loss]
        targets = [int(target) for target in datum.inputs["target_tokens"].tolist()]
        columns = {name: datum.inputs[name].tolist() for name in names}
        each = len(targets) // len(datum.tokens)
        chosen: list[float] = []
        total = 0.0
        for place, target in enumerate(targets):
            seen = datum.tokens[: place // each + 1]
            found = logprobs(seen, pupil.rows, pupil.scale, self._vocab)
            at = {name: column[place] for name, column in columns.items()}
            loss, slope = compute(found[target], at, work.config)
            total += loss
            chosen.append(found[target])
            if work.backward and slope:
                pulls = [-slope * math.exp(value) for value in found]
                pulls[target] += slope
                add_gradient(gradient, seen, pulls, pupil.scale)
        return chosen, total


def _add(into: Rows, extra: Rows) -> None:
    for name, row in extra.items():
        known = into.setdefault(name, [0.0] * len(row))
        for place, value in enumerate(row):
            known[place] += value


def _update(pupil: Pupil, name: str, gradient: list[float], params: OptimParams) -> None:
    """AdamW on one row, as in backends/torch/adamw.py."""
    zeros = [0.0] * len(gradient)
    first, second, row = (table.setdefault(name, zeros[:]) for table in (pupil.first, pupil.second, pupil.rows))
    bias1, bias2 = 1 - params.beta1**pupil.steps, 1 - params.beta2**pupil.steps
    for place, value in enumerate(gradient):
        first[place] += (1 - params.beta1) * (value - first[place])
        second[place] = params.beta2 * second[place] + (1 - params.beta2) * value * value
        move = first[place] / bias1 / (math.sqrt(second[place] / bias2) + params.eps)
        row[place] -= params.learning_rate * (move + params.weight_decay * row[place])
