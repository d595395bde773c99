"""Passes, on one rank: the losses of its data, their gradient, and what is told of them.

A loss needs the log-probabilities of whole data, a gradient only this rank's; so the derivative is found on whole
rows and pulled back through what is here. A failure that one rank alone sees (a client's own loss at one datum) must
not keep the others waiting: it goes on with no pull, and all agree at the end. Axes: P pairs, O pairs that are here,
N positions, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anubhav.backends.torch.failures import told
from anubhav.backends.torch.training.graphs import CustomLoss
from anubhav.backends.torch.training.losses import COMPUTE
from anubhav.backends.torch.training.replaying import check_routes
from anubhav.backends.torch.training.trainer import Scored, hand_out
from anubhav.cluster.sharded import chances
from anubhav.cluster.sharded.adapting import Adapting, Held
from anubhav.cluster.sharded.agreeing import agree, total
from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.batches import Batch, deal
from anubhav.cluster.sharded.routes import Agreement, Tally, of_mixtures
from anubhav.cluster.sharded.sheets import Sheet, read_sheet
from anubhav.cluster.sharded.sweeping import Sweeping
from anubhav.errors import AnubhavError, BadInput
from anubhav.types.arrays import Array
from anubhav.types.losses import LOSSES, options_of
from anubhav.types.training import Datum, Pass


@dataclass(slots=True)
class Part:
    """What one rank has to tell of a pass. Ranks that only repeat others have nothing."""

    logprobs: dict[int, Array] = field(default_factory=dict[int, Array])
    loss: float = 0.0
    packed: int = 0
    """Tokens computed, padding included."""
    told: Mapping[int, Mapping[str, float]] = field(default_factory=dict[int, Mapping[str, float]])
    """A custom loss's metrics, by datum."""
    counts: list[list[float]] = field(default_factory=list[list[float]])
    """Tokens of each expert, by mixture."""
    agreement: Agreement | None = None
    """Of a pass that repeats routes."""


class Learning:
    def __init__(self, base: Base, adapting: Adapting, budget: int) -> None:
        """`budget`: tokens of a micro-batch on a rank, padding included."""
        self._base, self._budget = base, budget
        self.sweeping = Sweeping(base, adapting)

    def batches(self, lengths: Sequence[int]) -> list[Batch]:
        """This rank's."""
        layout = self._base.layout
        hands = deal(lengths, layout.batches, self._budget, layout.sp, layout.pp)
        return hands[self._base.seat.fsdp // layout.sp]

    def run(self, work: Pass, held: Held) -> tuple[Part, list[Tensor]]:
        """(what to tell, gradient). Raises, with nothing kept, the same on all ranks, or `Elsewhere`."""
        base = self._base
        work = Pass(
            work.adapter, of_mixtures(base.config, work.data), work.loss, work.config, work.backward, work.graph
        )
        options = options_of(work.loss, work.config)
        check(base, work)
        batches = self.batches([len(datum.tokens) for datum in work.data])
        judged = _Judged(work, CustomLoss(work.graph, work.data) if work.graph else None)
        sheets: list[Sheet] = []
        for batch in batches:
            sheet, scored = read_sheet(base, batch, work, options)
            sheets.append(sheet)
            judged.scored.append(scored)
        tally = Tally.of(base.config, base.device)
        judged.sheets = sheets
        parameters = held.parameters()
        for factor in parameters:
            factor.grad = None
        with torch.set_grad_enabled(work.backward):
            self.sweeping.sweep(sheets, held, judged.judge, tally)
        agreement = self._agree(judged, tally)
        return self._tell(judged, tally, agreement), _take(parameters) if work.backward else []

    def _agree(self, judged: "_Judged", tally: Tally) -> Agreement:
        base = self._base
        sums = total(base, [*tally.agreed.tolist(), *tally.asked.tolist()])
        half = len(sums) // 2
        agreement = Agreement(tuple(sums[:half]), tuple(sums[half:]))
        failure = judged.failure
        if failure is None and base.config.mixture:
            try:
                agreement.check(base.config.mixture)
            except BadInput as problem:
                failure = problem
        agree(base, failure)
        return agreement

    def _tell(self, judged: "_Judged", tally: Tally, agreement: Agreement) -> Part:
        base = self._base
        if base.seat.tp:
            return Part()
        part = Part(counts=tally.counts_LX.tolist())
        if base.last and base.sequence_part == 0:
            part.logprobs, part.loss = judged.logprobs, judged.loss
            part.packed = sum(sheet.batch.rows * sheet.batch.length for sheet in judged.sheets)
            part.told = judged.custom.told if judged.custom else {}
        if base.seat.fsdp == 0 and base.last and agreement.asked[0]:
            part.agreement = agreement
        return part


def check(base: Base, work: Pass) -> None:
    """Raises BadInput, on all ranks alike, for what this model or this trainer cannot compute."""
    if (work.loss in COMPUTE) == (work.graph is not None):
        raise BadInput(f"The loss {work.loss} and the pass's graph do not fit", hint="A graph is the loss custom.")
    if not work.data:
        raise BadInput("The pass has no data", hint="Send one datum or more.")
    check_routes(base.config, work.data)
    for number, datum in enumerate(work.data):
        _check_inputs(work.loss, number, datum)
        _check_tokens(base, number, datum)


def _check_inputs(loss: str, number: int, datum: Datum) -> None:
    """What only the rank with this datum would stumble over."""
    target = datum.inputs.get("target_tokens")
    if target is None or not target.shape or target.shape[0] != len(datum.tokens):
        raise BadInput(f"Datum {number} has no target_tokens for each of its tokens", hint="Send one row a token.")
    for name in LOSSES[loss].inputs:
        if name not in datum.inputs or datum.inputs[name].shape != target.shape:
            raise BadInput(f"Datum {number} needs {name} of the shape of its target_tokens", hint="Send it along.")


def _check_tokens(base: Base, number: int, datum: Datum) -> None:
    """An index out of range would bring a GPU down, and the gang with it."""
    wanted = datum.inputs["target_tokens"].tolist()
    for tokens in (datum.tokens, wanted):
        if not tokens or min(tokens) < 0 or max(tokens) >= base.config.vocab:
            raise BadInput(
                f"Datum {number} has tokens that this model does not have, or none",
                hint=f"Send tokens from 0 to {base.config.vocab - 1}.",
            )
    if len(datum.tokens) > base.config.context:
        raise BadInput(
            f"Datum {number} has {len(datum.tokens)} tokens, more than the model's {base.config.context}",
            hint="Shorten it.",
        )


@dataclass(slots=True)
class _Judged:
    """The losses of a pass as its micro-batches come in."""

    work: Pass
    custom: CustomLoss | None
    sheets: Sequence[Sheet] = ()
    scored: list[Scored | None] = field(default_factory=list[Scored | None])
    logprobs: dict[int, Array] = field(default_factory=dict[int, Array])
    loss: float = 0.0
    failure: AnubhavError | None = None

    def judge(self, number: int, logits_NV: Tensor) -> Tensor:
        sheet, scored = self.sheets[number], self.scored[number]
        if scored is None:
            return logits_NV.sum() * 0
        here_O = chances.logprobs(logits_NV, sheet.place_O, scored.targets_P[sheet.here_P])
        logprobs_P = sheet.whole(here_O.detach())
        hand_out(logprobs_P.cpu(), scored, self.work.data, self.logprobs)
        slope_P, loss = self._weigh(logprobs_P, scored)
        self.loss += loss
        return (here_O * slope_P[sheet.here_P]).sum()

    def _weigh(self, logprobs_P: Tensor, scored: Scored) -> tuple[Tensor, float]:
        """(derivative of the loss by each log-probability, loss); nothing pulls where it fails."""
        none_P = torch.zeros_like(logprobs_P)
        try:
            if self.custom and self.work.backward:
                slope_P, lost = self.custom.slope(logprobs_P, scored.shares)
                return slope_P, float(lost)
            if self.custom:
                return none_P, self.custom.value(logprobs_P, scored.shares)
            with torch.enable_grad():
                free_P = logprobs_P.detach().requires_grad_()
                lost = COMPUTE[self.work.loss](free_P, scored.inputs, scored.options).sum()
                return torch.autograd.grad(lost, free_P)[0], float(lost.detach())
        except Exception as problem:  # noqa: BLE001 - no collective is in here: the others need not be lost for it
            self.failure = told(problem)
            return none_P, 0.0


def _take(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients, which the parameters lose."""
    found = [torch.zeros_like(factor) if factor.grad is None else factor.grad for factor in parameters]
    for factor in parameters:
        factor.grad = None
    return found
