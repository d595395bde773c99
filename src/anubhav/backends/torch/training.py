"""The trainer's arithmetic, synchronous and without a thread of its own: passes, steps, and what is kept per adapter.

`run` is a generator that pauses after every micro-batch, so that the engine can decode for waiting readers in between.
Axes: T packed tokens, P scored (position, target) pairs.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.adamw import Gradient, Moments, fresh_moments, norm, update
from anubhav.backends.torch.adapters import Adapter, fresh_adapter
from anubhav.backends.torch.head import pair_logprobs
from anubhav.backends.torch.lora import Segment
from anubhav.backends.torch.losses import LOSSES
from anubhav.backends.torch.model import Model
from anubhav.backends.torch.packing import Pack, pack
from anubhav.errors import AnubhavError, BadInput, Broken, NotFound
from anubhav.types.arrays import Array, floats
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

_DTYPES = {"float32": torch.float32, "int64": torch.int64, "int32": torch.int32}


@dataclass(slots=True)
class Pupil:
    """An adapter in training."""

    adapter: Adapter
    moments: Moments
    gradient: Gradient


@dataclass(frozen=True, slots=True)
class _Scored:
    """The pairs of one pack: which datum, where, and the loss inputs of each."""

    rows_P: Tensor
    targets_P: Tensor
    inputs: Mapping[str, Tensor]
    shares: list[tuple[int, int]]
    """(datum number, its number of pairs), in the order they stand in P."""


class Training:
    def __init__(self, model: Model, *, budget: int = 512) -> None:
        """`budget`: tokens per micro-batch. Fixed, not adaptive: replay must add the same numbers in the same order."""
        self._model = model
        self._budget = budget
        self._pupils: dict[AdapterId, Pupil] = {}

    def create(self, name: AdapterId, spec: LoraSpec) -> None:
        self.adopt(name, fresh_adapter(self._model.config, spec, self._model.device), None)

    def adopt(self, name: AdapterId, adapter: Adapter, moments: Moments | None) -> None:
        self._pupils[name] = Pupil(adapter, moments or fresh_moments(adapter.parameters()), Gradient())

    def pupil(self, name: AdapterId) -> Pupil:
        if name not in self._pupils:
            raise NotFound(f"The trainer has no adapter {name}", hint="Create or load it first.")
        return self._pupils[name]

    def drop(self, name: AdapterId) -> None:
        self._pupils.pop(name, None)

    def step(self, name: AdapterId, params: OptimParams) -> dict[str, float]:
        pupil = self.pupil(name)
        gradient, pupil.gradient = pupil.gradient.tensors, Gradient()
        total = norm(gradient)
        if not torch.tensor(total).isfinite():
            raise BadInput("The gradient is not finite, so no step was taken", hint="Lower the advantages or weights.")
        if gradient:
            update(pupil.adapter.parameters(), gradient, pupil.moments, params)
        return {"grad_norm": total, "learning_rate": params.learning_rate, "step": float(pupil.moments.steps)}

    def run(self, work: Pass) -> Generator[None, None, PassResult]:
        """Pauses between micro-batches; the gradient is added only when all of them went well."""
        try:
            return (yield from self._run(work))
        except AnubhavError as failure:
            return PassResult(failure=failure)
        except (RuntimeError, MemoryError) as problem:
            failure = Broken("The engine could not compute this pass", hint="The log says why.")
            failure.__cause__ = problem
            return PassResult(failure=failure)

    def _run(self, work: Pass) -> Generator[None, None, PassResult]:
        if work.loss not in LOSSES:
            raise BadInput(f"The loss {work.loss!r} is unknown", hint=f"Use one of {', '.join(LOSSES)}.")
        pupil = self.pupil(work.adapter)
        logprobs: dict[int, Array] = {}
        gradient = Gradient()
        loss = 0.0
        packs = pack([datum.tokens for datum in work.data], self._budget)
        for one in packs:
            scored = _score(one, work, self._model.device)
            with torch.set_grad_enabled(work.backward):
                logprobs_P = self._logprobs(one, scored, pupil.adapter)
                loss_P = LOSSES[work.loss].compute(logprobs_P, scored.inputs, work.config)
                total = loss_P.sum()
            loss += float(total.detach())
            if work.backward:
                gradient.add(_gradient(total, pupil.adapter))
            _hand_out(logprobs_P.detach().cpu(), scored, work.data, logprobs)
            yield
        if gradient.tensors:
            pupil.gradient.add(gradient.tensors)
        packed = sum(len(one.tokens) for one in packs)
        metrics = {
            "loss:sum": loss,
            "tokens:sum": float(sum(len(d.tokens) for d in work.data)),
            "packed:sum": float(packed),
        }
        return PassResult(tuple(logprobs[number] for number in range(len(work.data))), metrics)

    def _logprobs(self, one: Pack, scored: _Scored, adapter: Adapter) -> Tensor:
        model, device = self._model, self._model.device
        tokens_T, positions_T = torch.tensor(one.tokens, device=device), torch.tensor(one.positions, device=device)
        hidden_TE = model.hidden(tokens_T, positions_T, [Segment(adapter)], one.attend)
        pair = adapter.pairs.get((model.config.layers, "head"))
        lora = (pair.a_RI, pair.b_OR) if pair else None
        return pair_logprobs(
            hidden_TE, lora, model.head, adapter.scale, rows_P=scored.rows_P, targets_P=scored.targets_P
        )


def _gradient(total: Tensor, adapter: Adapter) -> list[Tensor]:
    parameters = adapter.parameters()
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    tensors = [
        torch.zeros_like(p) if g is None else g  # pyright: ignore[reportUnnecessaryComparison]
        for p, g in zip(parameters, found, strict=True)
    ]
    for pair, b_gradient in zip(adapter.pairs.values(), tensors[1::2], strict=True):
        if pair.blocks_OR is not None:
            b_gradient.mul_(pair.blocks_OR)
    return tensors


def _score(one: Pack, work: Pass, device: torch.device) -> _Scored:
    """Targets of shape (N, K) give K pairs for each of the N positions."""
    names = LOSSES[work.loss].inputs
    rows: list[int] = []
    targets: list[Tensor] = []
    inputs: dict[str, list[Tensor]] = {name: [] for name in names}
    shares: list[tuple[int, int]] = []
    for number, datum_rows in one.rows():
        values = work.data[number].inputs
        target = tensor(values["target_tokens"])
        each = target.numel() // len(datum_rows)
        rows.extend(row for row in datum_rows for _ in range(each))
        targets.append(target.flatten())
        shares.append((number, target.numel()))
        for name in names:
            inputs[name].append(tensor(values[name]).flatten())
    return _Scored(
        torch.tensor(rows, device=device),
        torch.cat(targets).to(device),
        {name: torch.cat(parts).to(device) for name, parts in inputs.items()},
        shares,
    )


def _hand_out(logprobs_P: Tensor, scored: _Scored, data: tuple[Datum, ...], into: dict[int, Array]) -> None:
    start = 0
    for number, count in scored.shares:
        part = logprobs_P[start : start + count]
        into[number] = array(part, data[number].inputs["target_tokens"].shape)
        start += count


def tensor(values: Array) -> Tensor:
    """The array as a tensor of its own."""
    return torch.frombuffer(bytearray(values.data), dtype=_DTYPES[values.dtype]).reshape(values.shape)


def array(values: Tensor, shape: tuple[int, ...]) -> Array:
    """A float32 tensor at rest."""
    return floats(values.tolist(), shape)
