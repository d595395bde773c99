"""Forward, or forward and backward, over micro-batches: one after the other, or through the stages of a pipeline.

What is done with the logits is the caller's: a judge gets those of a micro-batch and answers with a number, whose
gradient goes back. Axes: B rows, S tokens, E hidden, N positions asked for, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from anubhav.cluster.sharded.adapting import Adapting, Held
from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.routes import Tally
from anubhav.cluster.sharded.sheets import Sheet

Judge = Callable[[int, Tensor], Tensor]
"""(number of the micro-batch, its logits (N, V)) → one number."""


class Sweeping:
    def __init__(self, base: Base, adapting: Adapting) -> None:
        self._base, self._adapting = base, adapting

    def sweep(self, sheets: Sequence[Sheet], held: Held | None, judge: Judge, tally: Tally | None = None) -> None:
        """Gradients, where they are enabled, land in the adapter's tensors. Every rank must come here at once."""
        with self._adapting.using(held):
            try:
                if self._base.layout.pp > 1:
                    self._pipe(sheets, judge, tally)
                else:
                    for number, sheet in enumerate(sheets):
                        self._one(number, sheet, judge, tally)
            finally:
                self._adapting.follow(None, None)
        if not torch.is_grad_enabled():
            self._base.rest()

    def _one(self, number: int, sheet: Sheet, judge: Judge, tally: Tally | None) -> None:
        self._adapting.follow(sheet.route, tally)
        value = judge(number, self._base.logits(sheet.tokens_BS, sheet.select))
        if torch.is_grad_enabled():
            value.backward()

    def _pipe(self, sheets: Sequence[Sheet], judge: Judge, tally: Tally | None) -> None:
        """All micro-batches have one shape here."""
        base, count = self._base, len(sheets)
        tokens_BS = sheets[0].tokens_BS
        hidden_BSE = torch.empty(
            *tokens_BS.shape,
            base.config.hidden,
            dtype=base.dtype,
            device=base.device,
            requires_grad=torch.is_grad_enabled(),  # else no gradient is expected from the next stage
        )
        stage = PipelineStage(
            _Stage(base, lambda number: self._adapting.follow(sheets[number].route, tally)),
            base.seat.pp,
            base.layout.pp,
            base.device,
            input_args=tokens_BS if base.seat.pp == 0 else hidden_BSE,
            output_args=hidden_BSE,
            group=base.groups.pipe,
        )

        def judge_hidden(hidden_BSE: Tensor, number_1: Tensor) -> Tensor:
            number = int(number_1)
            return judge(number, base.unembed(sheets[number].select(hidden_BSE.flatten(0, 1))))

        # A sum over micro-batches, so nothing is divided by their number.
        schedule = Schedule1F1B(stage, n_microbatches=count, loss_fn=judge_hidden, scale_grads=False)
        go = schedule.step if torch.is_grad_enabled() else schedule.eval
        if base.seat.pp == 0:
            go(torch.cat([sheet.tokens_BS for sheet in sheets]), return_outputs=False)
        elif base.last:
            go(target=torch.arange(count), return_outputs=False)
        else:
            go(return_outputs=False)


class _Stage(nn.Module):
    """This rank's layers, called once for each micro-batch in order."""

    def __init__(self, base: Base, begin: Callable[[int], None]) -> None:
        super().__init__()
        self._inner: Any = base.hidden
        self._begin = begin
        self._number = 0

    def forward(self, x: Tensor) -> Tensor:
        self._begin(self._number)
        self._number += 1
        return self._inner(x)
