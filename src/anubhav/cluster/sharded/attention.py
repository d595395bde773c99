"""The attention inside transformers' modules: causal, with the heads of split sequences exchanged (Ulysses).

A rank of a split sequence has a part of the tokens for all heads. Two exchanges give it all tokens for a part of the
heads and back again (Jacobs et al., DeepSpeed Ulysses, arXiv:2309.14509). Padding stands on the right, so no mask but
the causal one is needed. Axes: B sequences, H heads, S tokens, D head dimension.
"""

from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from anubhav.cluster.sharded.collectives import Process, exchange

NAME = "anubhav_sharded"
_MODULE_GROUP = "anubhav_sequence_group"


def register() -> None:
    """Make transformers know our attention by NAME."""
    transformers.AttentionInterface.register(NAME, _attend)
    transformers.AttentionMaskInterface.register(NAME, _no_mask)


def split_sequences(net: nn.Module, group: Process) -> None:
    """Tell the attention of each layer of the model over which ranks its sequences are split."""
    for name, module in net.named_modules():
        if name.endswith("self_attn"):
            setattr(module, _MODULE_GROUP, group)


def _no_mask(**_: Any) -> None:
    return None


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """(B, S, H, D)."""
    q_BHSD, k_BHSD, v_BHSD = query, _spread(key, query), _spread(value, query)
    group: Process | None = getattr(module, _MODULE_GROUP, None)
    if group:
        q_BHSD, k_BHSD, v_BHSD = (exchange(x, 1, 2, group) for x in (q_BHSD, k_BHSD, v_BHSD))
    window_SS = _window(q_BHSD, sliding_window)
    out_BHSD = scaled_dot_product_attention(
        q_BHSD, k_BHSD.to(q_BHSD.dtype), v_BHSD, attn_mask=window_SS, is_causal=window_SS is None, scale=scaling
    )
    if group:
        out_BHSD = exchange(out_BHSD, 2, 1, group)
    return out_BHSD.transpose(1, 2).contiguous(), None


def _spread(keys: Tensor, query: Tensor) -> Tensor:
    """Key-value heads repeated for the query heads that look at them."""
    times = query.shape[1] // keys.shape[1]
    return keys if times == 1 else keys.repeat_interleave(times, 1)


def _window(query: Tensor, size: int | None) -> Tensor | None:
    """Who sees whom, where a token sees so many only; None where all before it."""
    length = query.shape[2]
    if size is None or size >= length:
        return None
    places_S = torch.arange(length, device=query.device)
    away_SS = places_S[:, None] - places_S[None, :]
    return (away_SS >= 0) & (away_SS < size)
