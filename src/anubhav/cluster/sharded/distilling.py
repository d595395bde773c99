"""Reverse KL on ranks: student and reference read the same continuations, each behind its own prompt.

Only as many logits of the reference are kept as there are micro-batches under way. Axes: K targets of a datum, P pairs
of positions over whole rows, O those that are here, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anubhav.backends.torch.training.losses import reverse_kl
from anubhav.cluster.sharded.adapting import Held
from anubhav.cluster.sharded.agreeing import agree
from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.batches import Batch
from anubhav.cluster.sharded.learning import Learning
from anubhav.cluster.sharded.sheets import Sheet, make_sheet
from anubhav.errors import BadInput
from anubhav.types.distilling import Distillation


@dataclass(slots=True)
class _Pairing:
    """A micro-batch's two sheets, and what becomes of its pairs."""

    ours: Sheet
    theirs: Sheet
    weights_P: Tensor
    numbers_P: Sequence[int]
    """The datum of each pair."""
    reference_PV: Tensor = field(default_factory=lambda: torch.empty(0))
    loss_P: Tensor = field(default_factory=lambda: torch.empty(0))


def distil(
    learning: Learning, base: Base, student: Held, reference: Held | None, work: Distillation
) -> tuple[dict[int, float], list[Tensor]]:
    """(this rank's losses by datum, gradient). Raises BadInput, or `Elsewhere`, for a loss that is not finite."""
    _check(base, work)
    lengths = [max(len(datum.tokens), len(datum.reference_tokens)) for datum in work.data]
    pairings = [_pair(base, batch, work) for batch in learning.batches(lengths)]
    parameters = student.parameters()
    for factor in parameters:
        factor.grad = None
    chunk = base.layout.pp
    losses: dict[int, float] = {}
    for start in range(0, len(pairings), chunk):
        some = pairings[start : start + chunk]
        some += [_pair(base, Batch((), some[0].ours.batch.rows, some[0].ours.batch.length), work)] * (chunk - len(some))
        _read(learning, reference, some)
        _pull(learning, student, some, work.temperature)
        for one in some:
            for number, loss in zip(one.numbers_P, one.loss_P.tolist(), strict=False):
                losses[number] = losses.get(number, 0.0) + loss
            one.reference_PV = torch.empty(0)
    bad = not all(map(math.isfinite, losses.values()))
    hint = "Go back to an earlier checkpoint, or lower the weights."
    agree(base, BadInput("The reverse KL is not finite", hint=hint) if bad else None)
    gradient = [torch.zeros_like(factor) if factor.grad is None else factor.grad for factor in parameters]
    for factor in parameters:
        factor.grad = None
    speaks = base.last and base.seat.tp == 0 and base.sequence_part == 0
    return losses if speaks else {}, gradient


def _check(base: Base, work: Distillation) -> None:
    for number, datum in enumerate(work.data):
        for tokens in (datum.tokens, datum.reference_tokens, datum.targets):
            if not tokens or min(tokens) < 0 or max(tokens) >= base.config.vocab or len(tokens) > base.config.context:
                raise BadInput(
                    f"Datum {number} has tokens that this model does not have, too many, or none", hint="Check them."
                )


def _pair(base: Base, batch: Batch, work: Distillation) -> _Pairing:
    data = [work.data[number] for number in batch.numbers]

    def sheet(rows: list[tuple[int, ...]]) -> Sheet:
        spots = [
            row * batch.length + len(tokens) - len(datum.targets) + place
            for row, (tokens, datum) in enumerate(zip(rows, data, strict=True))
            for place in range(len(datum.targets))
        ]
        return make_sheet(base, batch, rows, spots)

    return _Pairing(
        sheet([datum.tokens for datum in data]),
        sheet([datum.reference_tokens for datum in data]),
        torch.tensor([weight for datum in data for weight in datum.weights], device=base.device),
        [number for number, datum in zip(batch.numbers, data, strict=True) for _ in datum.targets],
    )


@torch.no_grad()
def _read(learning: Learning, reference: Held | None, some: Sequence[_Pairing]) -> None:
    """Where sequences are split, a pair's two positions may be on two ranks: every rank gets all of the reference."""

    def keep(number: int, logits_NV: Tensor) -> Tensor:
        sheet = some[number].theirs
        some[number].reference_PV = sheet.whole(logits_NV[sheet.place_O])
        return logits_NV.sum()

    learning.sweeping.sweep([one.theirs for one in some], reference, keep)


def _pull(learning: Learning, student: Held, some: Sequence[_Pairing], temperature: float) -> None:
    def compare(number: int, logits_NV: Tensor) -> Tensor:
        one = some[number]
        sheet = one.ours
        mine_OV = logits_NV[sheet.place_O]
        loss_O, slope_OV = reverse_kl.compute(
            mine_OV.detach(), one.reference_PV[sheet.here_P], one.weights_P[sheet.here_P], temperature
        )
        one.loss_P = sheet.whole(loss_O)
        return (mine_OV * slope_OV.to(mine_OV.dtype)).sum() + logits_NV.sum() * 0

    learning.sweeping.sweep([one.ours for one in some], student, compare)
