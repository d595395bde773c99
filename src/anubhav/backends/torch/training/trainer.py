"""The trainer's arithmetic, synchronous and without a thread of its own: passes, steps, and what is kept per adapter.

`run` is a generator that pauses after every micro-batch, so that the engine can decode for waiting readers in between.
Axes: T packed tokens, P scored (position, target) pairs.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anubhav.backends.torch.failures import told
from anubhav.backends.torch.layers.adapters import Adapter, fresh_adapter
from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.head import gradient_of, score, score_and_pull
from anubhav.backends.torch.models.packing import Pack, pack
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.models.routing import Loads, Routing
from anubhav.backends.torch.training import adamw, dimuon
from anubhav.backends.torch.training.distilling import distil
from anubhav.backends.torch.training.graphs import CustomLoss
from anubhav.backends.torch.training.losses import COMPUTE
from anubhav.backends.torch.training.mismatch import Mismatch
from anubhav.backends.torch.training.optimizer import Gradient, Moments, norm
from anubhav.backends.torch.training.replaying import check_routes, marked, repeat
from anubhav.errors import AnubhavError, BadInput, NotFound
from anubhav.types.arrays import Array, floats
from anubhav.types.distilling import Distillation, Distilled
from anubhav.types.ids import AdapterId
from anubhav.types.losses import LOSSES, level_of, options_of
from anubhav.types.training import OPTIMIZERS, Datum, LoraSpec, OptimParams, Pass, PassResult

_DTYPES = {"float32": torch.float32, "int64": torch.int64, "int32": torch.int32}


@dataclass(slots=True)
class Pupil:
    """An adapter in training."""

    adapter: Adapter
    moments: Moments = field(default_factory=Moments)
    gradient: Gradient = field(default_factory=Gradient)


@dataclass(frozen=True, slots=True)
class Scored:
    """The pairs of one micro-batch: which datum, where, and what its loss is computed from."""

    rows_P: Tensor
    targets_P: Tensor
    inputs: Mapping[str, Tensor]
    options: Mapping[str, float]
    shares: list[tuple[int, int]]
    """(datum number, its number of pairs), in the order they stand in P."""
    routing: Routing
    """Which experts its tokens go to, where the model has some."""


class Training:
    def __init__(self, model: Decoder, *, budget: int = 512, pause: Pause | None = None) -> None:
        """`budget`: tokens per micro-batch. Fixed, not adaptive: replay must add the same numbers in the same order.

        `pause` is called within micro-batches, between layers: the trainer must not be used from within it.
        """
        self._model, self._pause = model, pause
        self._budget = budget
        self._pupils: dict[AdapterId, Pupil] = {}

    def create(self, name: AdapterId, spec: LoraSpec) -> None:
        self.adopt(name, fresh_adapter(self._model.config, spec, self._model.device), None)

    def adopt(self, name: AdapterId, adapter: Adapter, moments: Moments | None) -> None:
        self._pupils[name] = Pupil(adapter, moments or Moments())

    def pupil(self, name: AdapterId) -> Pupil:
        if name not in self._pupils:
            raise NotFound(f"The trainer has no adapter {name}", hint="Create or load it first.")
        return self._pupils[name]

    def drop(self, name: AdapterId) -> None:
        self._pupils.pop(name, None)

    def step(self, name: AdapterId, params: OptimParams) -> dict[str, float]:
        """Raises BadInput, leaving the gradient, for another family than that of the steps before."""
        pupil = self.pupil(name)
        if params.family not in OPTIMIZERS:
            raise BadInput(f"The optimizer {params.family!r} is unknown", hint=f"Use one of {', '.join(OPTIMIZERS)}.")
        pupil.moments.begin(params.family, pupil.adapter.parameters())
        gradient, pupil.gradient = pupil.gradient.tensors, Gradient()
        total = norm(gradient)
        if not torch.tensor(total).isfinite():
            raise BadInput("The gradient is not finite, so no step was taken", hint="Lower the advantages or weights.")
        if gradient and params.family == "dimuon":
            dimuon.update(self._model.config, pupil.adapter, gradient, pupil.moments, params)
        elif gradient:
            adamw.update(pupil.adapter.parameters(), gradient, pupil.moments, params)
        return {"grad_norm": total, "learning_rate": params.learning_rate, "step": float(pupil.moments.steps)}

    def run(self, work: Pass) -> Generator[None, None, PassResult]:
        """Pauses between micro-batches; the gradient is added only when all of them went well."""
        try:
            return (yield from self._run(work))
        except AnubhavError as failure:
            return PassResult(failure=failure)
        except (RuntimeError, MemoryError) as problem:
            return PassResult(failure=told(problem))

    def _run(self, work: Pass) -> Generator[None, None, PassResult]:
        options = options_of(work.loss, work.config)
        pupil = self.pupil(work.adapter)
        logprobs: dict[int, Array] = {}
        gradient = Gradient()
        mismatch = Mismatch()
        loads = Loads(self._model.config, self._model.device)
        loss = 0.0
        custom = CustomLoss(work.graph, work.data) if work.graph else None
        if (work.loss in COMPUTE) == (custom is not None):
            raise BadInput(f"The loss {work.loss} and the pass's graph do not fit", hint="A graph is the loss custom.")
        check_routes(self._model.config, work.data)
        packs = pack(marked(work.data), self._budget, self._model.device)
        for one in packs:
            routing = repeat(one, work.data, self._model.config, self._model.device)
            scored = read_pairs(one.rows, work, options, routing, self._model.device)
            if work.backward:
                logprobs_P, lost, found = self._learn(one, scored, pupil.adapter, work, custom)
                gradient.add(found)
            else:
                logprobs_P, lost = self._look(one, scored, pupil.adapter, work, custom)
            loss += lost
            mismatch.add(logprobs_P, scored.inputs, options)
            loads.add(scored.routing, one.times())
            hand_out(logprobs_P.cpu(), scored, work.data, logprobs)
            yield
        if gradient.tensors:
            pupil.gradient.add(gradient.tensors)
        packed = sum(len(one.tokens) for one in packs)
        metrics = {
            "loss:sum": loss,
            "tokens:sum": float(sum(len(d.tokens) for d in work.data)),
            "packed:sum": float(packed),
            **mismatch.metrics(),
            **loads.metrics(),
            **(custom.metrics() if custom else {}),
        }
        return PassResult(tuple(logprobs[number] for number in range(len(work.data))), metrics)

    def distil(
        self, name: AdapterId, work: Distillation, reference: Adapter | None
    ) -> Generator[None, None, Distilled]:
        """Like `run`, for the reverse KL from `reference`, or from the base model; what fails is raised."""
        pupil = self.pupil(name)
        told, gradient = yield from distil(self._model, (pupil.adapter, reference), work, self._budget, self._pause)
        if gradient.tensors:
            pupil.gradient.add(gradient.tensors)
        return told

    @torch.no_grad()
    def _look(
        self, one: Pack, scored: Scored, adapter: Adapter, work: Pass, custom: CustomLoss | None
    ) -> tuple[Tensor, float]:
        """(log-probabilities, loss) of a pack."""
        hidden_TE = self._hidden(one, adapter, scored.routing)
        logprobs_P = score(self._model, adapter, hidden_TE, scored.rows_P, scored.targets_P, self._pause)
        if custom:
            return logprobs_P, custom.value(logprobs_P, scored.shares)
        return logprobs_P, float(COMPUTE[work.loss](logprobs_P, scored.inputs, scored.options).sum())

    def _learn(
        self, one: Pack, scored: Scored, adapter: Adapter, work: Pass, custom: CustomLoss | None
    ) -> tuple[Tensor, float, list[Tensor]]:
        """(log-probabilities, loss, gradient) of a pack."""
        lost: list[Tensor] = []

        def slope(logprobs: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
            with torch.enable_grad():
                free = logprobs.detach().requires_grad_()
                total = COMPUTE[work.loss](free, inputs, scored.options).sum()
            lost.append(total.detach())
            return torch.autograd.grad(total, free)[0]

        def slope_of_some(pairs: Tensor, logprobs: Tensor) -> Tensor:
            return slope(logprobs, {name: values_P[pairs] for name, values_P in scored.inputs.items()})

        hidden_TE = self._hidden(one, adapter, scored.routing)
        where = (self._model, adapter, hidden_TE.detach(), scored.rows_P, scored.targets_P)
        if level_of(work.loss, scored.options) != "token":
            # Chunks of rows cut through data, so the derivative is found before the chunks are pulled.
            if custom:
                slope_P, value = custom.slope(score(*where, self._pause), scored.shares)
                lost.append(value)
            else:
                slope_P = slope(score(*where, self._pause), scored.inputs)
            logprobs_P, pull = score_and_pull(*where, lambda pairs, _: slope_P[pairs], self._pause)
        else:
            logprobs_P, pull = score_and_pull(*where, slope_of_some, self._pause)
        return logprobs_P, float(torch.stack(lost).sum()), gradient_of(hidden_TE, pull, adapter)

    def _hidden(self, one: Pack, adapter: Adapter, routing: Routing) -> Tensor:
        return one.hidden(self._model, [Segment(adapter)], self._pause, routing)


def read_pairs(
    rows_of: Mapping[int, Sequence[int]],
    work: Pass,
    options: Mapping[str, float],
    routing: Routing,
    device: torch.device,
) -> Scored:
    """Of the data in `rows_of`, by number the row of each token. Targets of shape (N, K) give K pairs for each of N."""
    info = LOSSES[work.loss]
    rows: list[int] = []
    targets: list[Tensor] = []
    inputs: dict[str, list[Tensor]] = {name: [] for name in (*info.inputs, *info.per_token)}
    shares: list[tuple[int, int]] = []
    for number, datum_rows in rows_of.items():
        values = work.data[number].inputs
        target = tensor(values["target_tokens"])
        each = target.numel() // len(datum_rows)
        rows.extend(row for row in datum_rows for _ in range(each))
        targets.append(target.flatten())
        shares.append((number, target.numel()))
        for name, parts in inputs.items():
            given = name in info.inputs or name in values
            parts.append(tensor(values[name]).flatten() if given else torch.full((target.numel(),), options[name]))
    together = {name: torch.cat(parts).float().to(device) for name, parts in inputs.items()}
    if level_of(work.loss, options) == "datum":
        counts = torch.tensor([count for _, count in shares])
        together["datum"] = torch.arange(len(shares)).repeat_interleave(counts).to(device)
    return Scored(torch.tensor(rows, device=device), torch.cat(targets).to(device), together, options, shares, routing)


def hand_out(logprobs_P: Tensor, scored: Scored, data: tuple[Datum, ...], into: dict[int, Array]) -> None:
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
