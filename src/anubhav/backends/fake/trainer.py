"""The Trainer port over the table."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anubhav.backends.fake.files import OPTIMIZER, WEIGHTS, read_spec, read_tables, write_spec, write_tables
from anubhav.backends.fake.losses import LOSSES
from anubhav.backends.fake.table import Pull, Rows, gradient, look_ahead
from anubhav.errors import AnubhavError, BadInput, NotFound
from anubhav.types.arrays import Array, floats
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult


@dataclass(slots=True)
class Pupil:
    spec: LoraSpec
    rows: Rows = field(default_factory=dict[int, dict[int, float]])
    first: Rows = field(default_factory=dict[int, dict[int, float]])
    second: Rows = field(default_factory=dict[int, dict[int, float]])
    pulls: list[Pull] | None = None
    """None: no backward pass since the last step."""
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
        pulls, pupil.pulls = pupil.pulls, None
        slopes = gradient(pulls or (), pupil.rows, pupil.scale)
        norm = math.sqrt(sum(value * value for row in slopes.values() for value in row.values()))
        if not math.isfinite(norm):
            raise BadInput("The gradient is not finite, so no step was taken", hint="Lower the advantages or weights.")
        if pulls is not None:
            _update(pupil, slopes, params.grad_clip_norm / norm if 0 < params.grad_clip_norm < norm else 1.0, params)
        return {"grad_norm": norm, "learning_rate": params.learning_rate, "step": float(pupil.steps)}

    async def save(self, adapter: AdapterId, to: Path, *, optimizer: bool) -> None:
        pupil = self._pupil(adapter)
        write_spec(to, pupil.spec)
        write_tables(to / WEIGHTS, {"rows": pupil.rows})
        if optimizer:
            write_tables(to / OPTIMIZER, {"first": pupil.first, "second": pupil.second}, pupil.steps)

    async def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        pupil = Pupil(read_spec(source), read_tables(source / WEIGHTS)[0]["rows"])
        if optimizer and (source / OPTIMIZER).exists():
            moments, pupil.steps = read_tables(source / OPTIMIZER)
            pupil.first, pupil.second = moments["first"], moments["second"]
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
            pulls: list[Pull] = []
            outputs: list[Array] = []
            total = 0.0
            for datum in work.data:
                values, loss = self._read(pupil, work, datum, pulls)
                outputs.append(floats(values, datum.inputs["target_tokens"].shape))
                total += loss
                await asyncio.sleep(0)
        except AnubhavError as failure:
            return PassResult(failure=failure)
        if work.backward:
            pupil.pulls = (pupil.pulls or []) + pulls
        return PassResult(tuple(outputs), {"loss:sum": total})

    def _read(self, pupil: Pupil, work: Pass, datum: Datum, pulls: list[Pull]) -> tuple[list[float], float]:
        """Log-probabilities of the datum's targets and its loss; adds to `pulls`."""
        compute, names = LOSSES[work.loss]
        targets = [int(target) for target in datum.inputs["target_tokens"].tolist()]
        columns = {name: datum.inputs[name].tolist() for name in names}
        each = len(targets) // len(datum.tokens)
        chosen: list[float] = []
        total = 0.0
        for place, target in enumerate(targets):
            outlook = look_ahead(datum.tokens[: place // each + 1], pupil.rows, pupil.scale, self._vocab)
            logprob = outlook.logprob(target)
            loss, slope = compute(logprob, {name: column[place] for name, column in columns.items()}, work.config)
            total += loss
            chosen.append(logprob)
            if slope:
                pulls.append(Pull(outlook, target, slope))
        return chosen, total


def _update(pupil: Pupil, slopes: Rows, shrink: float, params: OptimParams) -> None:
    """AdamW, as in backends/torch/adamw.py."""
    pupil.steps += 1
    bias1, bias2 = 1 - params.beta1**pupil.steps, 1 - params.beta2**pupil.steps
    for context in sorted(pupil.rows.keys() | slopes.keys()):
        row, wanted = pupil.rows.setdefault(context, {}), slopes.get(context, {})
        first, second = pupil.first.setdefault(context, {}), pupil.second.setdefault(context, {})
        for token in sorted(row.keys() | wanted.keys()):
            slope, value = shrink * wanted.get(token, 0.0), row.get(token, 0.0)
            first[token] = params.beta1 * first.get(token, 0.0) + (1 - params.beta1) * slope
            second[token] = params.beta2 * second.get(token, 0.0) + (1 - params.beta2) * slope * slope
            move = first[token] / bias1 / (math.sqrt(second[token] / bias2) + params.eps)
            row[token] = value - params.learning_rate * (move + params.weight_decay * value)
