"""A long text read by the frozen base in parts, keys and values kept in between: chats never wait for all of it.

Axes: T tokens of the whole text, N of a part, E hidden, H query heads, G key-value heads, D head dimension.
"""

from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.pausing import Pause

PART = 512
"""Tokens that go through the layers together."""

Look = Callable[[int, Tensor, Tensor], None]
"""(layer, the queries of a part NHD, the keys of everything up to its end TGD)."""


def walk(
    model: Decoder, tokens: Sequence[int], pause: Pause | None, look: Look | None = None
) -> Generator[None, None, Tensor]:
    """The final hidden states, (T, E). Pauses between parts; `look` sees each layer that attends."""
    held: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(layer: int, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor) -> Tensor:
        if layer in held:
            k_NGD, v_NGD = (torch.cat(pair) for pair in zip(held[layer], (k_NGD, v_NGD), strict=True))
        held[layer] = k_NGD, v_NGD
        if look:
            look(layer, q_NHD, k_NGD)
        return _attend(q_NHD, k_NGD, v_NGD, model.config.windows[layer])

    parts: list[Tensor] = []
    for start in range(0, len(tokens), PART):
        part_N = torch.tensor(tokens[start : start + PART], device=model.device)
        positions_N = torch.arange(start, start + len(part_N), device=model.device)
        with torch.no_grad():
            parts.append(model.hidden(part_N, positions_N, [], attend, pause))
        yield
    return torch.cat(parts)


def hide(rows: Tensor, keys: int, window: int | None) -> Tensor:
    """(N, T): True where the rows at these positions may not look among `keys` positions."""
    away_NT = rows[:, None] - torch.arange(keys, device=rows.device)
    return away_NT < 0 if window is None else (away_NT < 0) | (away_NT >= window)


def _attend(q_NHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, window: int | None) -> Tensor:
    """Of the last N of T positions."""
    count, keys = len(q_NHD), len(k_TGD)
    rows = torch.arange(keys - count, keys, device=q_NHD.device)
    o_HND = functional.scaled_dot_product_attention(
        *(x.transpose(0, 1)[None] for x in (q_NHD, k_TGD, v_TGD)),
        attn_mask=~hide(rows, keys, window),
        enable_gqa=True,
    )
    return o_HND[0].transpose(0, 1)
