"""Drawing tokens from logits. Every row draws from its own counter-based stream, so batch mates never matter.

Axes: B rows, V vocabulary.
"""

import hashlib

import torch
from torch import Tensor

from anubhav.types.sampling import SamplingParams, TopLogprobs


def uniform(seed: int, index: int, step: int) -> float:
    """A number in [0, 1) that depends on nothing but its three arguments."""
    digest = hashlib.blake2b(f"{seed}:{index}:{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def scale(logits_BV: Tensor, params: list[SamplingParams]) -> Tensor:
    """Log-probabilities of each row at its temperature; greedy rows keep temperature 1."""
    temperatures = torch.tensor([one.temperature or 1.0 for one in params], device=logits_BV.device)
    return torch.log_softmax(logits_BV.float() / temperatures[:, None], -1)


def draw(logprobs_BV: Tensor, params: list[SamplingParams], uniforms: list[float]) -> Tensor:
    """One token per row by inverting the cumulative distribution, after top-k and top-p."""
    probs_BV = logprobs_BV.exp()
    cut = [row for row, one in enumerate(params) if one.temperature > 0 and (one.top_k > 0 or one.top_p < 1)]
    for row in cut:
        probs_BV[row] = _truncate(probs_BV[row], params[row])
    cumulative_BV = probs_BV.double().cumsum_(-1)
    points_B1 = torch.tensor(uniforms, dtype=torch.float64, device=probs_BV.device)[:, None] * cumulative_BV[:, -1:]
    drawn_B = torch.searchsorted(cumulative_BV, points_B1, right=True)[:, 0].clamp_(max=probs_BV.shape[-1] - 1)
    greedy_B = torch.tensor([one.temperature == 0 for one in params], device=probs_BV.device)
    return torch.where(greedy_B, logprobs_BV.argmax(-1), drawn_B)


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


def top(logprobs_V: Tensor, k: int) -> TopLogprobs:
    """The k most likely (token id, log-probability) pairs."""
    values, ids = logprobs_V.topk(min(k, len(logprobs_V)))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))
