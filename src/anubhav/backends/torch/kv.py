"""The key-value cache: one row per running sequence, rows kept dense so that a batch is a slice, not a gather.

Axes: L layers, S rows, G key-value heads, C capacity in tokens, D head dimension, B running rows, H query heads.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.config import ModelConfig

_STEP: Final = 128
"""The capacity grows in steps, to copy seldom."""
_KEPT_BYTES: Final = 256 << 20
"""A cache of this size stays when nothing runs: fresh memory costs the next burst a page fault per 4 kB."""


class KvCache:
    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        self._config, self._device, self._dtype = config, device, dtype
        self._token_bytes = 2 * config.layers * config.kv_width * dtype.itemsize
        self._k_LSGCD = self._empty(0, 0)
        self._v_LSGCD = self._empty(0, 0)
        self._mask_B11M: Tensor | None = None
        self._index_B: tuple[Tensor, Tensor] | None = None
        self._rows: slice | Tensor = slice(0)
        self._longest = 0

    def reserve(self, rows: int, capacity: int) -> None:
        """Make room for at least `rows` sequences of `capacity` tokens, keeping what is there."""
        had_rows, had = self._k_LSGCD.shape[1], self._k_LSGCD.shape[3]
        if rows <= had_rows and capacity <= had:
            return
        capacity = max(-(-capacity // _STEP) * _STEP, had)
        if rows > had_rows and 2 * had_rows * capacity * self._token_bytes <= _KEPT_BYTES:
            rows = max(rows, 2 * had_rows)
        kept = min(rows, had_rows)  # a longer capacity is not paid for rows that nothing runs in
        # Both before either is used: without memory for the second one, what runs goes on in the old ones.
        k_LSGCD, v_LSGCD = self._empty(rows, capacity), self._empty(rows, capacity)
        k_LSGCD[:, :kept, :, :had] = self._k_LSGCD[:, :kept]
        v_LSGCD[:, :kept, :, :had] = self._v_LSGCD[:, :kept]
        self._k_LSGCD, self._v_LSGCD = k_LSGCD, v_LSGCD

    def release(self) -> None:
        """Give much memory back; called when nothing runs."""
        if 2 * self._k_LSGCD.nbytes > _KEPT_BYTES:
            self._k_LSGCD, self._v_LSGCD = self._empty(0, 0), self._empty(0, 0)

    def store(self, layer: int, row: int, k_TGD: Tensor, v_TGD: Tensor) -> None:
        """A prompt's keys and values, from position 0."""
        length = len(k_TGD)
        self._k_LSGCD[layer, row, :, :length] = k_TGD.transpose(0, 1)
        self._v_LSGCD[layer, row, :, :length] = v_TGD.transpose(0, 1)

    def move(self, source: int, target: int, length: int) -> None:
        self._k_LSGCD[:, target, :, :length] = self._k_LSGCD[:, source, :, :length]
        self._v_LSGCD[:, target, :, :length] = self._v_LSGCD[:, source, :, :length]

    def begin_step(self, rows: list[int], lengths: list[int]) -> None:
        """Each of these rows adds one token after the `lengths` it holds. Cheapest for rows 0..B-1."""
        lengths_B, rows_B = torch.tensor(lengths, device=self._device), torch.tensor(rows, device=self._device)
        self._longest = max(lengths) + 1
        self._rows = slice(len(rows)) if rows == list(range(len(rows))) else rows_B
        self._index_B = (rows_B, lengths_B)
        columns_M = torch.arange(self._longest, device=self._device)
        self._mask_B11M = (columns_M <= lengths_B[:, None])[:, None, None]

    def attend(self, layer: int, q_BHD: Tensor, k_BGD: Tensor, v_BGD: Tensor) -> Tensor:
        """One decode step: append each row's key and value, then look at all of its own."""
        assert self._index_B is not None
        rows_B, at_B = self._index_B
        self._k_LSGCD[layer].index_put_((rows_B[:, None], _heads(k_BGD), at_B[:, None]), k_BGD)
        self._v_LSGCD[layer].index_put_((rows_B[:, None], _heads(v_BGD), at_B[:, None]), v_BGD)
        k_BGMD = self._k_LSGCD[layer, :, :, : self._longest][self._rows]
        v_BGMD = self._v_LSGCD[layer, :, :, : self._longest][self._rows]
        # Query heads of one group share keys: with the group as the query axis nothing is repeated or copied.
        q_BGQD = q_BHD.unflatten(1, (self._config.kv_heads, -1))
        return functional.scaled_dot_product_attention(q_BGQD, k_BGMD, v_BGMD, attn_mask=self._mask_B11M).flatten(1, 2)

    def _empty(self, rows: int, capacity: int) -> Tensor:
        config = self._config
        shape = (config.layers, rows, config.kv_heads, capacity, config.head_dim)
        return torch.zeros(shape, device=self._device, dtype=self._dtype)


def _heads(k_BGD: Tensor) -> Tensor:
    return torch.arange(k_BGD.shape[1], device=k_BGD.device)[None]
