"""Passes of the reverse KL: student and reference read the same continuations, each behind its own prompt, and only the
student's half has a gradient.

Both are packed as any pass is. What is kept of the reference between the two is its hidden states, never its logits.
Axes: T packed tokens, E hidden, P pairs of positions, C pairs of a chunk, V vocabulary.
"""

import math
from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from anubhav.backends.torch.layers.adapters import Adapter
from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.head import Spots, compare_and_pull, gradient_of
from anubhav.backends.torch.models.packing import Pack, pack
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.training.losses import reverse_kl
from anubhav.backends.torch.training.optimizer import Gradient
from anubhav.errors import BadInput
from anubhav.types.distilling import Continuation, Distillation, Distilled, summed_up


def distil(
    model: Decoder,
    adapters: tuple[Adapter, Adapter | None],
    work: Distillation,
    budget: int,
    pause: Pause | None = None,
) -> Generator[None, None, tuple[Distilled, Gradient]]:
    """The losses and the student's gradient; `adapters` are the student's and the reference's, None being the base.

    Pauses between micro-batches, and calls `pause` within them. Raises BadInput for a loss that is not finite.
    """
    losses = [0.0] * len(work.data)
    gradient = Gradient()
    for one in pack([datum.tokens for datum in work.data], budget, model.device):
        numbers = list(one.rows)
        data = [work.data[number] for number in numbers]
        weights_P = torch.tensor([weight for datum in data for weight in datum.weights], device=model.device)
        live = weights_P.nonzero()[:, 0]
        if not len(live):
            continue
        theirs_PE = yield from _reference(model, adapters[1], data, budget, pause)
        loss_P, found = _learn(model, adapters, one, (theirs_PE, weights_P, live), work, pause)
        gradient.add(found)
        parts = torch.zeros_like(weights_P).index_add_(0, live, loss_P).split([len(datum.targets) for datum in data])
        for number, part in zip(numbers, parts, strict=True):
            losses[number] = float(part.sum())
        yield
    if not all(map(math.isfinite, losses)):
        raise BadInput("The reverse KL is not finite", hint="Go back to an earlier checkpoint, or lower the weights.")
    return summed_up(work, losses), gradient


def _reference(
    model: Decoder, adapter: Adapter | None, data: Sequence[Continuation], budget: int, pause: Pause | None
) -> Generator[None, None, Tensor]:
    """The reference's hidden states at each target of the data, in their order."""
    found: list[Tensor] = [torch.empty(0)] * len(data)
    for one in pack([datum.reference_tokens for datum in data], budget, model.device):
        with torch.no_grad():
            hidden_TE = one.hidden(model, [Segment(adapter)] if adapter else [], pause)
        for number, rows in one.rows.items():
            found[number] = hidden_TE[_ends(rows, data[number], model)]
        yield
    return torch.cat(found)


def _learn(
    model: Decoder,
    adapters: tuple[Adapter, Adapter | None],
    one: Pack,
    pairs: tuple[Tensor, Tensor, Tensor],
    work: Distillation,
    pause: Pause | None,
) -> tuple[Tensor, list[Tensor]]:
    """(loss of each live pair, gradient) of a pack; `pairs`: the reference's states, the weights, which are not 0."""
    theirs_PE, weights_P, live = pairs
    rows_P = torch.cat([_ends(rows, work.data[number], model) for number, rows in one.rows.items()])

    def compare(some: Tensor, logits_CV: Tensor, their_CV: Tensor) -> tuple[Tensor, Tensor]:
        return reverse_kl.compute(logits_CV, their_CV, weights_P[live[some]], work.temperature)

    hidden_TE = one.hidden(model, [Segment(adapters[0])], pause)
    ours = Spots(hidden_TE.detach(), rows_P[live])
    loss_P, pull = compare_and_pull(model, adapters, ours, Spots(theirs_PE, live), compare, pause)
    return loss_P, gradient_of(hidden_TE, pull, adapters[0])


def _ends(rows: Sequence[int], datum: Continuation, model: Decoder) -> Tensor:
    return torch.tensor(rows[-len(datum.targets) :], device=model.device)
