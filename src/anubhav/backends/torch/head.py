"""Log-probabilities of chosen tokens without ever storing the logits.

Forward keeps one log-sum-exp per row; backward recomputes the logits of those rows whose gradient is not zero. A row
may be asked for several targets (branches of a trie, top-K distillation targets). Axes: T rows, E hidden, V vocabulary,
P (row, target) pairs, C rows of a chunk, R rank.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from anubhav.backends.torch.frozen import FrozenLinear

_CHUNK = 256
"""Rows at a time: 50 MB of fp32 logits for a vocabulary of 49,152."""


def _add_lora(
    logits_CV: Tensor, hidden_CE: Tensor, a_RE: Tensor | None, b_VR: Tensor | None, scale: float
) -> Tensor | None:
    if a_RE is None or b_VR is None:
        return None
    inner_CR = torch.mm(hidden_CE, a_RE.t()).mul_(scale)
    logits_CV.addmm_(inner_CR, b_VR.t())
    return inner_CR


def _chunks(rows: Tensor, pair_rows_P: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(rows of the chunk, pairs of the chunk, each pair's place within the chunk) over sorted `rows`."""
    # Empty when no pair pulls: advantages or weights of zero. split() would give one empty chunk.
    for rows_C in rows.split(_CHUNK) if len(rows) else ():
        place_P = torch.searchsorted(rows_C, pair_rows_P).clamp_(max=len(rows_C) - 1)
        pairs = (rows_C[place_P] == pair_rows_P).nonzero()[:, 0]
        yield rows_C, pairs, place_P[pairs]


class _PairLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913 - autograd wants every tensor as an argument
        ctx: Any,
        hidden_TE: Tensor,
        a_RE: Tensor | None,
        b_VR: Tensor | None,
        head: FrozenLinear,
        scale: float,
        rows_P: Tensor,
        targets_P: Tensor,
    ) -> Tensor:
        logprobs_P = torch.empty(len(rows_P), dtype=torch.float32, device=hidden_TE.device)
        lse_T = torch.zeros(len(hidden_TE), dtype=torch.float32, device=hidden_TE.device)
        for rows_C, pairs, place in _chunks(rows_P.unique(), rows_P):
            logits_CV = head(hidden_TE[rows_C])
            _add_lora(logits_CV, hidden_TE[rows_C], a_RE, b_VR, scale)
            logits_CV = logits_CV.float()
            lse_C = torch.logsumexp(logits_CV, -1)
            lse_T[rows_C] = lse_C
            logprobs_P[pairs] = logits_CV[place, targets_P[pairs]] - lse_C[place]
        ctx.save_for_backward(hidden_TE, a_RE, b_VR, lse_T, rows_P, targets_P)
        ctx.head, ctx.scale = head, scale
        return logprobs_P

    @staticmethod
    def backward(ctx: Any, g_P: Tensor) -> tuple[Tensor | None, ...]:
        hidden_TE, a_RE, b_VR, lse_T, rows_P, targets_P = ctx.saved_tensors
        dhidden_TE = torch.zeros_like(hidden_TE)
        da_RE = torch.zeros_like(a_RE) if a_RE is not None else None
        db_VR = torch.zeros_like(b_VR) if b_VR is not None else None
        for rows_C, pairs, place in _chunks(rows_P[g_P != 0].unique(), rows_P):
            hidden_CE, g = hidden_TE[rows_C], g_P[pairs]
            logits_CV = ctx.head(hidden_CE)
            inner_CR = _add_lora(logits_CV, hidden_CE, a_RE, b_VR, ctx.scale)
            total_C = torch.zeros(len(rows_C), device=g.device).index_add_(0, place, g)
            # d logprob[target] / d logits = onehot − softmax
            dlogits_CV = logits_CV.float().sub_(lse_T[rows_C, None]).exp_().mul_(-total_C[:, None])
            dlogits_CV.index_put_((place, targets_P[pairs]), g, accumulate=True)
            dlogits_CV = dlogits_CV.to(hidden_CE.dtype)
            dhidden_CE = ctx.head.pull(dlogits_CV)
            if inner_CR is not None and da_RE is not None and db_VR is not None:
                dinner_CR = torch.mm(dlogits_CV, cast(Tensor, b_VR)).mul_(ctx.scale)
                dhidden_CE.addmm_(dinner_CR, a_RE)
                da_RE.addmm_(dinner_CR.t(), hidden_CE)
                db_VR.addmm_(dlogits_CV.t(), inner_CR)
            dhidden_TE[rows_C] = dhidden_CE
        return dhidden_TE, da_RE, db_VR, None, None, None, None


def pair_logprobs(
    hidden_TE: Tensor,
    lora: tuple[Tensor, Tensor] | None,
    head: FrozenLinear,
    scale: float,
    *,
    rows_P: Tensor,
    targets_P: Tensor,
) -> Tensor:
    """Log p(targets_P | hidden_TE[rows_P]) in float32, differentiable in the hidden states and the head's LoRA."""
    a_RE, b_VR = lora or (None, None)
    return _PairLogprobs.apply(hidden_TE, a_RE, b_VR, head, scale, rows_P, targets_P)  # pyright: ignore[reportReturnType]
