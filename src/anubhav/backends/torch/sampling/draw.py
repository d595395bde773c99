"""Drawing tokens from logits. Every row draws from its own counter-based stream, so batch mates never matter.

Axes: B rows, V vocabulary.
"""

import ctypes
import hashlib
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from anubhav.backends.torch.kernels import native
from anubhav.types.sampling import SamplingParams, TopLogprobs

_NATIVE_VOCABULARY: Final = 1 << 20
"""The kernel takes no larger one."""


def uniform(seed: int, index: int, step: int) -> float:
    """A number in [0, 1) that depends on nothing but its three arguments."""
    digest = hashlib.blake2b(f"{seed}:{index}:{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def speak(
    logits_BV: Tensor, params: Sequence[SamplingParams], steps: Sequence[tuple[int, int, int]]
) -> list[tuple[int, float]]:
    """One (token, log-probability) per row; `steps` are the arguments of `uniform`. Greedy rows keep temperature 1."""
    uniforms = [uniform(*step) for step in steps]
    library = native.library() if native.fits(logits_BV) else None
    if library and not any(_cuts(one) for one in params) and logits_BV.shape[1] <= _NATIVE_VOCABULARY:
        return _speak_natively(library, logits_BV, params, uniforms)
    logprobs_BV = scale(logits_BV, params)
    drawn_B = draw(logprobs_BV, params, uniforms)
    return list(zip(drawn_B.tolist(), logprobs_BV.gather(-1, drawn_B[:, None])[:, 0].tolist(), strict=True))


def _speak_natively(
    library: ctypes.CDLL, logits_BV: Tensor, params: Sequence[SamplingParams], uniforms: Sequence[float]
) -> list[tuple[int, float]]:
    rows, vocabulary = logits_BV.shape
    heats_B = torch.tensor([1 / (one.temperature or 1.0) for one in params])
    uniforms_B = torch.tensor(uniforms, dtype=torch.float64)
    greedy_B = torch.tensor([one.temperature == 0 for one in params], dtype=torch.uint8)
    tokens_B, logprobs_B = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
    library.draw(
        *(native.at(t) for t in (logits_BV, heats_B, uniforms_B, greedy_B, tokens_B, logprobs_B)),
        *(rows, vocabulary, native.FLOATS[logits_BV.dtype], native.threads()),
    )
    return list(zip(tokens_B.tolist(), logprobs_B.tolist(), strict=True))


def scale(logits_BV: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """Log-probabilities of each row at its temperature; greedy rows keep temperature 1."""
    temperatures = torch.tensor([one.temperature or 1.0 for one in params], device=logits_BV.device)
    return torch.log_softmax(logits_BV.float() / temperatures[:, None], -1)


def draw(logprobs_BV: Tensor, params: Sequence[SamplingParams], uniforms: Sequence[float]) -> Tensor:
    """One token per row by inverting the cumulative distribution, after top-k and top-p."""
    probs_BV = logprobs_BV.exp()
    for row, one in enumerate(params):
        if _cuts(one):
            probs_BV[row] = _truncate(probs_BV[row], one)
    cumulative_BV = probs_BV.double().cumsum_(-1)
    points_B1 = torch.tensor(uniforms, dtype=torch.float64, device=probs_BV.device)[:, None] * cumulative_BV[:, -1:]
    drawn_B = torch.searchsorted(cumulative_BV, points_B1, right=True)[:, 0].clamp_(max=probs_BV.shape[-1] - 1)
    greedy_B = torch.tensor([one.temperature == 0 for one in params], device=probs_BV.device)
    return torch.where(greedy_B, logprobs_BV.argmax(-1), drawn_B)


def _cuts(params: SamplingParams) -> bool:
    return params.temperature > 0 and (params.top_k > 0 or params.top_p < 1)


def _truncate(probs_V: Tensor, params: SamplingParams) -> Tensor:
    keep = min(params.top_k, len(probs_V)) if params.top_k > 0 else len(probs_V)
    values, ids = probs_V.topk(keep)
    if params.top_p < 1:
        # The smallest set whose mass reaches top_p: a token stays while the mass before it is short of that.
        before = values.cumsum(-1) - values
        kept = before < params.top_p * values.sum()
        kept[0] = True
        values = values * kept
    return torch.zeros_like(probs_V).scatter_(0, ids, values)


def likeliest(logits_V: Tensor, params: SamplingParams, k: int) -> TopLogprobs:
    """The k most likely tokens at the parameters' temperature."""
    return top(scale(logits_V[None], [params])[0], k)


def top(logprobs_V: Tensor, k: int) -> TopLogprobs:
    """The k most likely (token id, log-probability) pairs."""
    values, ids = logprobs_V.topk(min(k, len(logprobs_V)))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))
