"""The Trainer port over the table."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anubhav.backends.fake.distilling import distil
from anubhav.backends.fake.files import OPTIMIZER, WEIGHTS, read_spec, read_tables, write_spec, write_tables
from anubhav.backends.fake.losses import COMPUTE
from anubhav.backends.fake.optimizer import Moments, update
from anubhav.backends.fake.table import Pull, Rows, Sweep, gradient, look_ahead
from anubhav.errors import AnubhavError, BadInput, NotFound
from anubhav.types.arrays import Array, floats
from anubhav.types.distilling import Distillation, Distilled
from anubhav.types.ids import AdapterId
from anubhav.types.losses import LOSSES, options_of
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

_TABLES = {"": (), "adamw": ("first", "second"), "dimuon": ("first",)}
"""What each optimizer keeps."""


@dataclass(slots=True)
class Pupil:
    spec: LoraSpec
    rows: Rows = field(default_factory=dict[int, dict[int, float]])
    moments: Moments = field(default_factory=Moments)
    pulls: list[Pull | Sweep] | None = None
    """None: no backward pass since the last step."""
    gain: float = 1.0

    @property
    def scale(self) -> float:
        return self.gain * self.spec.alpha / 32.0


class FakeTrainer:
    def __init__(self, vocab: int, gain: float = 1.0) -> None:
        self._vocab, self._gain = vocab, gain
        self._pupils: dict[AdapterId, Pupil] = {}

    async def create(self, adapter: AdapterId, spec: LoraSpec) -> None:
        self._pupils[adapter] = Pupil(spec, gain=self._gain)

    async def run(self, passes: Sequence[Pass], *, tenant: str = "") -> Sequence[PassResult]:
        return [await self._run(work) for work in passes]

    async def step(self, adapter: AdapterId, params: OptimParams) -> Mapping[str, float]:
        pupil = self._pupil(adapter)
        pupil.moments.begin(params.family)
        pulls, pupil.pulls = pupil.pulls, None
        slopes = gradient(pulls or (), pupil.rows, pupil.scale)
        norm = math.sqrt(sum(value * value for row in slopes.values() for value in row.values()))
        if not math.isfinite(norm):
            raise BadInput("The gradient is not finite, so no step was taken", hint="Lower the advantages or weights.")
        if pulls is not None:
            if 0 < params.grad_clip_norm < norm:
                shrink = params.grad_clip_norm / norm
                slopes = {context: {token: shrink * v for token, v in row.items()} for context, row in slopes.items()}
            update(pupil.rows, slopes, pupil.moments, params, pupil.spec.rank)
        return {"grad_norm": norm, "learning_rate": params.learning_rate, "step": float(pupil.moments.steps)}

    async def save(self, adapter: AdapterId, to: Path, *, optimizer: bool) -> None:
        pupil = self._pupil(adapter)
        write_spec(to, pupil.spec)
        write_tables(to / WEIGHTS, {"rows": pupil.rows})
        if optimizer:
            moments = pupil.moments
            # Files of the time when there was only AdamW name both tables, so a table's name tells the family.
            tables = {name: getattr(moments, name) for name in _TABLES[moments.family]}
            write_tables(to / OPTIMIZER, tables, moments.steps)

    async def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        pupil = Pupil(read_spec(source), read_tables(source / WEIGHTS)[0]["rows"], gain=self._gain)
        if optimizer and (source / OPTIMIZER).exists():
            tables, steps = read_tables(source / OPTIMIZER)
            (family,) = (family for family, names in _TABLES.items() if set(names) == set(tables))
            pupil.moments = Moments(**tables, steps=steps, family=family)
        self._pupils[adapter] = pupil

    async def blend(self, adapter: AdapterId, parts: Sequence[tuple[Path, float]]) -> None:
        specs = [read_spec(folder) for folder, _ in parts]
        together = Pupil(
            LoraSpec(
                rank=sum(spec.rank for spec in specs),
                train_attn=any(spec.train_attn for spec in specs),
                train_mlp=any(spec.train_mlp for spec in specs),
                train_unembed=any(spec.train_unembed for spec in specs),
            ),
            gain=self._gain,
        )
        for (folder, share), spec in zip(parts, specs, strict=True):
            for context, row in read_tables(folder / WEIGHTS)[0]["rows"].items():
                into = together.rows.setdefault(context, {})
                for token, value in row.items():
                    into[token] = into.get(token, 0.0) + share * value * spec.alpha / together.spec.alpha
        self._pupils[adapter] = together

    async def distil(
        self, adapter: AdapterId, work: Distillation, reference: Path | None, *, tenant: str = ""
    ) -> Distilled:
        pupil, other = self._pupil(adapter), Pupil(LoraSpec(), gain=self._gain)
        if reference:
            other = Pupil(read_spec(reference), read_tables(reference / WEIGHTS)[0]["rows"], gain=self._gain)
        told, sweeps = distil((pupil.rows, pupil.scale), (other.rows, other.scale), work, self._vocab)
        pupil.pulls = [*(pupil.pulls or ()), *sweeps]
        return told

    async def drop(self, adapter: AdapterId) -> None:
        self._pupils.pop(adapter, None)

    def _pupil(self, adapter: AdapterId) -> Pupil:
        if adapter not in self._pupils:
            raise NotFound(f"The trainer has no adapter {adapter}", hint="Create or load it first.")
        return self._pupils[adapter]

    async def _run(self, work: Pass) -> PassResult:
        try:
            pupil = self._pupil(work.adapter)
            options = options_of(work.loss, work.config)
            if work.loss not in COMPUTE or work.graph:
                raise BadInput(f"The fake model does not compute the loss {work.loss}", hint="Serve a real model.")
            pulls: list[Pull] = []
            outputs: list[Array] = []
            total = 0.0
            for datum in work.data:
                values, loss = self._read(pupil, work.loss, options, datum, pulls)
                outputs.append(floats(values, datum.inputs["target_tokens"].shape))
                total += loss
                await asyncio.sleep(0)
        except AnubhavError as failure:
            return PassResult(failure=failure)
        if work.backward:
            pupil.pulls = (pupil.pulls or []) + pulls
        return PassResult(tuple(outputs), {"loss:sum": total})

    def _read(
        self, pupil: Pupil, loss: str, options: Mapping[str, float], datum: Datum, pulls: list[Pull]
    ) -> tuple[list[float], float]:
        """Log-probabilities of the datum's targets and its loss; adds to `pulls`."""
        targets = [int(target) for target in datum.inputs["target_tokens"].tolist()]
        each = len(targets) // len(datum.tokens)
        outlooks = [
            look_ahead(datum.tokens[: place + 1], pupil.rows, pupil.scale, self._vocab)
            for place in range(len(datum.tokens))
        ]
        logprobs = [outlooks[place // each].logprob(target) for place, target in enumerate(targets)]
        found = COMPUTE[loss](logprobs, _positions(loss, options, datum, len(targets)), options)
        for place, outlook in enumerate(outlooks):
            here = range(place * each, (place + 1) * each)
            if slopes := [(targets[one], found[one][1]) for one in here if found[one][1]]:
                pulls.append(Pull(outlook, slopes))
        return logprobs, sum(value for value, _ in found)


def _positions(loss: str, options: Mapping[str, float], datum: Datum, count: int) -> list[dict[str, float]]:
    info = LOSSES[loss]
    columns = {name: [options[name]] * count for name in info.per_token}
    columns |= {name: datum.inputs[name].tolist() for name in columns if name in datum.inputs}
    columns |= {name: datum.inputs[name].tolist() for name in info.inputs}
    return [{name: column[place] for name, column in columns.items()} for place in range(count)]
