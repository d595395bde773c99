"""A micro-batch as this rank sees it: its tokens, the positions that are asked for, and their targets.

Where sequences are split, a rank has a part of each row; targets are laid out for whole rows everywhere, and a mask
says which are here. Axes: B rows, S tokens of a row on this rank, N positions asked for here, P pairs of position and
target over whole rows, T = B S.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from anubhav.backends.torch.models.routing import Routing
from anubhav.backends.torch.training.trainer import Scored, read_pairs, tensor
from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.batches import Batch
from anubhav.cluster.sharded.collectives import Process
from anubhav.cluster.sharded.routes import Route
from anubhav.types.training import ROUTES, Datum, Pass


@dataclass(frozen=True, slots=True)
class Sheet:
    batch: Batch
    tokens_BS: Tensor
    rows_N: Tensor
    """Among this rank's T positions."""
    place_O: Tensor
    """Of each pair that is here, its number among N."""
    here_P: Tensor
    """Which pairs are on this rank."""
    route: Route
    sequence: Process | None

    def select(self, hidden_TE: Tensor) -> Tensor:
        return hidden_TE[self.rows_N]

    def whole(self, values_O: Tensor) -> Tensor:
        """(P, …) of what each rank of a split sequence has for its own pairs."""
        values_P = values_O.new_zeros(len(self.here_P), *values_O.shape[1:])
        values_P[self.here_P] = values_O
        if self.sequence:
            dist.all_reduce(values_P, group=self.sequence)
        return values_P


def make_sheet(base: Base, batch: Batch, tokens: Sequence[Sequence[int]], spots: Sequence[int]) -> Sheet:
    """`tokens` of each row; `spots`: for each pair row · length + token, in whole rows."""
    width = batch.length // base.layout.sp
    first = base.sequence_part * width
    tokens_BL = torch.zeros(batch.rows, batch.length, dtype=torch.long)
    real_BL = torch.zeros(batch.rows, batch.length, dtype=torch.bool)
    for row, sequence in enumerate(tokens):
        tokens_BL[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        real_BL[row, : len(sequence)] = True
    mine = slice(first, first + width)
    spots_P = torch.tensor(spots, dtype=torch.long, device=base.device)
    row_P, token_P = spots_P // batch.length, spots_P % batch.length
    here_P = (token_P >= first) & (token_P < first + width)
    rows_N, place_O = (row_P * width + token_P - first)[here_P].unique(return_inverse=True)
    if not len(rows_N):
        rows_N = rows_N.new_zeros(1)  # a batch without anything to score still runs with the others
    route = Route(None, real_BL[:, mine].flatten().to(base.device))
    sequence = base.groups.sequence
    return Sheet(batch, tokens_BL[:, mine].contiguous().to(base.device), rows_N, place_O, here_P, route, sequence)


def read_sheet(base: Base, batch: Batch, work: Pass, options: Mapping[str, float]) -> tuple[Sheet, Scored | None]:
    """The sheet of some data of a pass and what their losses are computed from, which is None without data."""
    tokens = [work.data[number].tokens for number in batch.numbers]
    rows_of = {
        number: range(row * batch.length, row * batch.length + len(tokens[row]))
        for row, number in enumerate(batch.numbers)
    }
    scored = read_pairs(rows_of, work, options, Routing(), base.device) if batch.numbers else None
    sheet = make_sheet(base, batch, tokens, scored.rows_P.tolist() if scored else ())
    sheet.route.given_TLK = _given(base, batch, [work.data[number] for number in batch.numbers])
    return sheet, scored


def _given(base: Base, batch: Batch, data: Sequence[Datum]) -> Tensor | None:
    mixture = base.config.mixture
    if mixture is None or not any(ROUTES in datum.inputs for datum in data):
        return None
    given_BSLK = torch.full((batch.rows, batch.length, len(mixture.layers), mixture.each), -1)
    for row, datum in enumerate(data):
        if routes := datum.inputs.get(ROUTES):
            given_BSLK[row, : len(datum.tokens)] = tensor(routes).long()
    width = batch.length // base.layout.sp
    mine = given_BSLK[:, base.sequence_part * width : (base.sequence_part + 1) * width]
    return mine.flatten(0, 1).to(base.device)
