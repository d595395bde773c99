"""What a prompt itself is asked for: log-probabilities of its tokens and of others, likeliest tokens, fresh draws.

All of it comes from the hidden states of the prefill, by chunks of rows, and only rows that are asked for meet the
vocabulary. Axes: T prompt tokens, E hidden, R rows asked for, C rows of a chunk, V vocabulary, P (row, token) pairs,
K draws.
"""

import torch
from torch import Tensor

from anubhav.backends.torch.layers.adapters import Adapter
from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.head import score
from anubhav.backends.torch.sampling.draw import top, uniform
from anubhav.types.sampling import PromptScores, SampleRequest, TopLogprobs

_CHUNK = 64
"""Rows at a time: their logits and, for draws, sums in float64 are held for each."""
_DRAWS = 1 << 40
"""Prompt draws take their numbers from this step on, far from those of the sample's own tokens."""


def score_prompt(
    model: Decoder, adapter: Adapter | None, hidden_TE: Tensor, request: SampleRequest, seed: int, start: int = 0
) -> PromptScores:
    """`start`: the place of the first hidden state, where what is before it was not asked for and not computed."""
    prompt = request.prompt
    last = len(prompt) - 1
    first = last - min(request.prompt_last or last, last)
    asked = range(first, last)  # row r knows what follows token r
    chosen = asked if request.prompt_logprobs else range(0)
    pairs = [
        *((row - start, prompt[row + 1]) for row in chosen),
        *((at - 1, token) for at, token in request.prompt_targets),
    ]
    values = _score_pairs(model, adapter, hidden_TE, pairs)
    blank = (None,) * (first + 1)
    return PromptScores(
        (*blank, *values[: len(chosen)]) if request.prompt_logprobs else (),
        (*blank, *_likeliest(model, adapter, hidden_TE[asked.start - start : -1], request.top_prompt_logprobs))
        if request.top_prompt_logprobs
        else (),
        tuple(values[len(chosen) :]),
        _draw(model, adapter, hidden_TE[:-1], request, seed) if request.prompt_draws else (),
    )


def _score_pairs(
    model: Decoder, adapter: Adapter | None, hidden_TE: Tensor, pairs: list[tuple[int, int]]
) -> list[float]:
    if not pairs:
        return []
    pairs_P2 = torch.tensor(pairs, device=model.device)
    return score(model, adapter, hidden_TE, pairs_P2[:, 0].contiguous(), pairs_P2[:, 1].contiguous()).tolist()


def _likeliest(model: Decoder, adapter: Adapter | None, hidden_RE: Tensor, k: int) -> list[TopLogprobs]:
    parts = hidden_RE.split(_CHUNK)
    return [top(row, k) for part in parts for row in torch.log_softmax(_logits(model, adapter, part), -1)]


def _draw(
    model: Decoder, adapter: Adapter | None, hidden_RE: Tensor, request: SampleRequest, seed: int
) -> tuple[TopLogprobs, ...]:
    """With replacement, from the whole distribution; greedy at temperature 0."""
    drawn: list[TopLogprobs] = []
    k, temperature = request.prompt_draws, request.params.temperature
    for hidden_CE in hidden_RE.split(_CHUNK):
        logits_CV = _logits(model, adapter, hidden_CE)
        logprobs_CV = torch.log_softmax(logits_CV, -1)
        if temperature == 0:
            tokens_CK = logprobs_CV.argmax(-1, keepdim=True).expand(-1, k)
        else:
            sums_CV = torch.softmax(logits_CV / temperature, -1).double().cumsum_(-1)
            steps = range(_DRAWS + len(drawn) * k, _DRAWS + (len(drawn) + len(hidden_CE)) * k)
            points = [uniform(seed, request.first_index, step) for step in steps]
            points_CK = torch.tensor(points, dtype=torch.float64, device=model.device).view(-1, k) * sums_CV[:, -1:]
            tokens_CK = torch.searchsorted(sums_CV, points_CK, right=True).clamp_(max=sums_CV.shape[1] - 1)
        values_CK = logprobs_CV.gather(-1, tokens_CK)
        rows = zip(tokens_CK.tolist(), values_CK.tolist(), strict=True)
        drawn += [tuple(zip(tokens, values, strict=True)) for tokens, values in rows]
    return tuple(drawn)


def _logits(model: Decoder, adapter: Adapter | None, hidden_CE: Tensor) -> Tensor:
    return model.logits(hidden_CE, [Segment(adapter)] if adapter else []).float()
