"""Where the end of a text looks: the share of attention that its last tokens give to spans of what was before.

As SnapKV (Li et al., 2024) and H2O (Zhang et al., 2023) find the keys that matter, here over all layers and heads.
Only the last rows of each layer's attention are computed, some at a time, never a square of the text.
Axes: T tokens, N last tokens, R some of them, H query heads, G key-value heads, M heads of a group, D head dimension.
"""

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.reading import check_tokens
from anubhav.backends.torch.reading_long import hide, walk
from anubhav.errors import BadInput

_CELLS = 1 << 22
"""Of attention at a time: 16 MB."""


def attend(
    model: Decoder, prompt: Sequence[int], spans: Sequence[tuple[int, int]], last: int, pause: Pause | None
) -> Generator[None, None, list[float]]:
    """The mean share of each span, over layers, heads and the last tokens. Pauses between parts of the text."""
    check_tokens(prompt, model.config.vocab)
    _check(len(prompt), spans, last, model.config.context)
    mass_T = torch.zeros(len(prompt), device=model.device)
    rows = 0
    begin = len(prompt) - last

    def look(layer: int, q_NHD: Tensor, k_TGD: Tensor) -> None:
        nonlocal rows
        wanted = min(len(q_NHD), len(k_TGD) - begin)
        if wanted > 0:
            mass_T[: len(k_TGD)] += _mass(q_NHD[-wanted:], k_TGD, model.config.windows[layer])
            rows += wanted * q_NHD.shape[1]

    yield from walk(model, prompt, pause, look)
    shares_T = mass_T / rows
    return [float(shares_T[start:end].sum()) for start, end in spans]


def _mass(q_NHD: Tensor, k_TGD: Tensor, window: int | None) -> Tensor:
    """(T,): the attention each position gets from the last N, summed over these and the heads."""
    keys, groups, width = k_TGD.shape
    k_GDT = k_TGD.float().permute(1, 2, 0) * width**-0.5
    mass_T = torch.zeros(keys, device=k_TGD.device)
    rows_N = torch.arange(keys - len(q_NHD), keys, device=k_TGD.device)
    few = max(1, _CELLS // (q_NHD.shape[1] * keys))
    for q_RHD, rows_R in zip(q_NHD.split(few), rows_N.split(few), strict=True):
        q_GRMD = q_RHD.float().unflatten(1, (groups, -1)).transpose(0, 1)
        scores_GRMT = (q_GRMD.flatten(1, 2) @ k_GDT).unflatten(1, q_GRMD.shape[1:3])
        scores_GRMT.masked_fill_(hide(rows_R, keys, window)[:, None], -torch.inf)
        mass_T += scores_GRMT.softmax(-1).sum((0, 1, 2))
    return mass_T


def _check(tokens: int, spans: Sequence[tuple[int, int]], last: int, context: int) -> None:
    if tokens > context:
        raise BadInput(f"The text has {tokens} tokens and at most {context} can be read", hint="Shorten it.")
    if not 1 <= last <= tokens:
        raise BadInput(f"There are no last {last} of {tokens} tokens", hint=f"Choose from 1 to {tokens}.")
    if bad := [span for span in spans if not 0 <= span[0] < span[1] <= tokens - last]:
        raise BadInput(
            f"The span {bad[0][0]}..{bad[0][1]} does not lie before the last {last} of {tokens} tokens",
            hint=f"Its start comes before its end, and that is at most {tokens - last}.",
        )
