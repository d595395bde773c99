"""The unembedding with its LoRA: log-probabilities of chosen tokens, and their gradient, without storing the logits.

The losses act on each position alone, so a chunk of rows goes forward, through the loss and back in one pass, and its
logits are gone before the next chunk begins. A row may be asked for several targets (branches of a trie, top-K
distillation targets). Axes: T rows, E hidden, V vocabulary, P (row, target) pairs, C rows of a chunk, R rank.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.kernels import fused
from anubhav.backends.torch.layers.adapters import Adapter, Pair
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.pausing import Pause

_CHUNK = 256
"""Rows at a time: 50 MB of fp32 logits for a vocabulary of 49,152."""
_WIDE_CHUNK = 64
"""Where two models' distributions stand side by side."""

Force = Callable[[Tensor, Tensor], Tensor]
"""(numbers of some pairs, their log-probabilities) → the derivative of the loss by each of these log-probabilities."""


@dataclass(frozen=True, slots=True)
class Pull:
    """What a loss asks of the hidden states and of the head's own LoRA."""

    hidden_TE: Tensor
    a_RE: Tensor | None
    b_VR: Tensor | None


@dataclass(frozen=True, slots=True)
class Spots:
    """Hidden states, and for each of P pairs the row of one."""

    hidden_TE: Tensor
    rows_P: Tensor


@torch.no_grad()
def score(
    model: Decoder,
    adapter: Adapter | None,
    hidden_TE: Tensor,
    rows_P: Tensor,
    targets_P: Tensor,
    pause: Pause | None = None,
) -> Tensor:
    """Log p(targets_P | hidden_TE[rows_P]) in float32. `pause` is called between chunks of rows."""
    pair, scale = _lora(model, adapter)
    logprobs_P = torch.empty(len(rows_P), dtype=torch.float32, device=hidden_TE.device)
    for rows_C, pairs, place in _chunks(rows_P):
        if pause:
            pause()
        logits_CV, _ = _logits(model, pair, scale, hidden_TE[rows_C])
        logprobs_P[pairs] = _Chances(logits_CV, place, targets_P[pairs]).logprobs
    return logprobs_P


@torch.no_grad()
def score_and_pull(
    model: Decoder,
    adapter: Adapter,
    hidden_TE: Tensor,
    rows_P: Tensor,
    targets_P: Tensor,
    force: Force,
    pause: Pause | None = None,
) -> tuple[Tensor, Pull]:
    """The log-probabilities as `score` gives them, and the gradient of the loss that `force` is the derivative of."""
    pair, scale = _lora(model, adapter)
    logprobs_P = torch.empty(len(rows_P), dtype=torch.float32, device=hidden_TE.device)
    pull = _no_pull(hidden_TE, pair)
    for rows_C, pairs, place in _chunks(rows_P):
        if pause:
            pause()
        hidden_CE = hidden_TE[rows_C]
        logits_CV, inner_CR = _logits(model, pair, scale, hidden_CE)
        chances = _Chances(logits_CV, place, targets_P[pairs])
        logprobs_P[pairs] = chances.logprobs
        g = force(pairs, logprobs_P[pairs])
        none_C = torch.zeros(len(rows_C), device=g.device)
        # d logprob[target] / d logits = onehot − softmax
        dlogits_CV = chances.times(-none_C.index_add(0, place, g))
        dlogits_CV.index_put_((place, targets_P[pairs]), g.to(dlogits_CV.dtype), accumulate=True)
        live = none_C.index_add(0, place, g.abs()).nonzero()[:, 0]
        if len(live) < len(rows_C):  # rows of no weight: prompts, and samples without an advantage
            dlogits_CV, rows_C, hidden_CE = dlogits_CV[live], rows_C[live], hidden_CE[live]
            inner_CR = None if inner_CR is None else inner_CR[live]
        if not len(live):
            continue
        pull.hidden_TE[rows_C] = _pull_back(model, (pair, scale), pull, dlogits_CV, hidden_CE, inner_CR)
    return logprobs_P, pull


Compare = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(numbers of some pairs, their logits, those of the other model) → (their losses, the derivative by their logits)."""


@torch.no_grad()
def compare_and_pull(
    model: Decoder,
    adapters: tuple[Adapter, Adapter | None],
    ours: Spots,
    theirs: Spots,
    compare: Compare,
    pause: Pause | None = None,
) -> tuple[Tensor, Pull]:
    """The loss of each pair of positions, ours and another model's, and its gradient by our half."""
    (pair, scale), other = _lora(model, adapters[0]), _lora(model, adapters[1])
    loss_P = torch.empty(len(ours.rows_P), dtype=torch.float32, device=ours.hidden_TE.device)
    pull = _no_pull(ours.hidden_TE, pair)
    for pairs in torch.arange(len(ours.rows_P), device=loss_P.device).split(_WIDE_CHUNK):
        if pause:
            pause()
        rows_C = ours.rows_P[pairs]
        hidden_CE = ours.hidden_TE[rows_C]
        logits_CV, inner_CR = _logits(model, pair, scale, hidden_CE)
        their_CV, _ = _logits(model, *other, theirs.hidden_TE[theirs.rows_P[pairs]])
        loss_P[pairs], dlogits_CV = compare(pairs, logits_CV, their_CV)
        # Added, not set: branches that begin alike share rows.
        dhidden_CE = _pull_back(model, (pair, scale), pull, dlogits_CV, hidden_CE, inner_CR)
        pull.hidden_TE.index_add_(0, rows_C, dhidden_CE)
    return loss_P, pull


def gradient_of(hidden_TE: Tensor, pull: Pull, adapter: Adapter) -> list[Tensor]:
    """One tensor per parameter. The hidden states depend on every pair but the head's."""
    body = [t for site, pair in adapter.pairs.items() if site[1] != "head" for t in (pair.a_RI, pair.b_OR)]
    tensors = list(torch.autograd.grad(hidden_TE, body, pull.hidden_TE)) if body else []
    return [*tensors, *(t for t in (pull.a_RE, pull.b_VR) if t is not None)]


def _no_pull(hidden_TE: Tensor, pair: Pair | None) -> Pull:
    return Pull(
        torch.zeros_like(hidden_TE),
        torch.zeros_like(pair.a_RI) if pair else None,
        torch.zeros_like(pair.b_OR) if pair else None,
    )


def _pull_back(
    model: Decoder,
    head: tuple[Pair | None, float],
    pull: Pull,
    dlogits_CV: Tensor,
    hidden_CE: Tensor,
    inner_CR: Tensor | None,
) -> Tensor:
    """The derivative by the chunk's hidden states; adds to the pull on the head's LoRA."""
    pair, scale = head
    dlogits_CV = dlogits_CV.to(hidden_CE.dtype)
    dhidden_CE = model.head.pull(dlogits_CV)
    if pair and inner_CR is not None and pull.a_RE is not None and pull.b_VR is not None:
        dinner_CR = torch.mm(dlogits_CV, pair.b_OR.to(dlogits_CV.dtype)).mul_(scale)
        dhidden_CE.addmm_(dinner_CR, pair.a_RI.to(dlogits_CV.dtype))
        pull.a_RE.add_(torch.mm(dinner_CR.t(), hidden_CE))
        pull.b_VR.add_(torch.mm(dlogits_CV.t(), inner_CR))
    return dhidden_CE


def _lora(model: Decoder, adapter: Adapter | None) -> tuple[Pair | None, float]:
    pair = adapter.pairs.get((model.config.layers, "head")) if adapter else None
    return pair, adapter.scale if adapter else 1.0


def _chunks(rows_P: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(rows of the chunk, pairs of the chunk, each pair's place within the chunk)."""
    rows_U, place_P, count_U = rows_P.unique(return_inverse=True, return_counts=True)
    # Sorted once, and stably: searching every pair in every chunk would cost the square of a long sequence.
    pairs_P = place_P.argsort(stable=True)
    ends = [0, *count_U.cumsum(0)[_CHUNK - 1 :: _CHUNK].tolist(), len(rows_P)]
    for start, rows_C in enumerate(rows_U.split(_CHUNK)):
        pairs = pairs_P[ends[start] : ends[start + 1]]
        yield rows_C, pairs, place_P[pairs] - start * _CHUNK


def _logits(model: Decoder, pair: Pair | None, scale: float, hidden_CE: Tensor) -> tuple[Tensor, Tensor | None]:
    """The logits in the compute type, and what the LoRA's inner layer made of the hidden states."""
    logits_CV = model.head(hidden_CE)
    if pair is None:
        return logits_CV, None
    inner_CR = torch.mm(hidden_CE, pair.a_RI.t().to(hidden_CE.dtype)).mul_(scale)
    return logits_CV.addmm_(inner_CR, pair.b_OR.t().to(hidden_CE.dtype)), inner_CR


class _Chances:
    """The softmax of a chunk's logits, in their place."""

    def __init__(self, logits_CV: Tensor, place: Tensor, targets: Tensor) -> None:
        """`logprobs` are those of each of `targets`, in the row that `place` has for it."""
        self._measured = fused.measure(logits_CV)
        if self._measured:
            most_C, self._sum_C = self._measured
            self._cells_CV = logits_CV
            wanted = logits_CV[place, targets].float() - most_C[place]
        else:
            self._cells_CV = logits_CV.float()
            self._cells_CV.sub_(self._cells_CV.amax(-1, keepdim=True))
            wanted = self._cells_CV[place, targets]
            self._sum_C = self._cells_CV.exp_().sum(-1)
        self.logprobs = wanted - self._sum_C.log()[place]

    def times(self, factors_C: Tensor) -> Tensor:
        """Each row's probabilities times its factor. Once only: nothing else is left of the logits then."""
        shares_C = factors_C / self._sum_C
        if not self._measured:
            return self._cells_CV.mul_(shares_C[:, None])
        fused.soften(self._cells_CV, self._measured[0], shares_C)
        return self._cells_CV
