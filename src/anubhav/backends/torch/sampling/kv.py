"""The key-value cache: pages of 16 tokens, any of which any sequence may hold, and attention over them.

A step computes parts: some tokens that follow what a sequence has in the cache already. Parts of one token, which
decoding is made of, are attended to all at once; longer ones, of prompts, one by one.
Axes: L layers, P pages, G key-value heads, D head dimension, S slots of a page, T tokens of a step, B parts of one
token, N columns of their page table, M tokens looked at, H query heads.
"""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.kernels import native
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.sampling.pages import PAGE, pages_for

_LANES: Final = 16
"""The native kernel takes heads whose width is a multiple of this."""
_CACHE_BYTES: Final = 4 << 30
_CACHE_SHARE: Final = 8
"""The cache takes at most one part in so many of the machine's memory."""
_MOST_PAGES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """`count` tokens after the `start` ones that the sequence of these pages has in the cache."""

    pages: Sequence[int]
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class _Long:
    """A part of several tokens, and where they lie."""

    rows: slice
    start: int
    pages_N: Tensor
    page_T: Tensor
    slot_T: Tensor


class KvCache:
    """Memory is taken from the system page by page, as pages are first written."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype, count: int) -> None:
        self._config, self._device = config, device
        shape = (config.layers, count, config.kv_heads)
        self._k_LPGDS = torch.empty(*shape, config.head_dim, PAGE, device=device, dtype=dtype)
        self._v_LPGSD = torch.empty(*shape, PAGE, config.v_dim, device=device, dtype=dtype)
        whole = config.head_dim % _LANES == 0 and config.v_dim % _LANES == 0
        self._native = native.library() if whole and native.fits(self._k_LPGDS) else None
        layers = zip(self._k_LPGDS, self._v_LPGSD, strict=True)
        self.addresses = [(k.data_ptr(), v.data_ptr()) for k, v in layers]
        """Of each layer's keys and values."""
        self._table_BN = self._lengths_B = torch.empty(0, dtype=torch.int32)
        self._single_B: Tensor | slice | None = None
        self._long: list[_Long] = []

    @property
    def natively(self) -> bool:
        """Whether parts of one token are attended to by the kernel."""
        return self._native is not None

    @property
    def singles(self) -> tuple[Tensor, Tensor]:
        """The page table and the lengths of the parts of one token."""
        return self._table_BN, self._lengths_B

    def copy(self, source: int, target: int) -> None:
        """The content of one page to another, in all layers."""
        self._k_LPGDS[:, target] = self._k_LPGDS[:, source]
        self._v_LPGSD[:, target] = self._v_LPGSD[:, source]

    def begin(self, parts: Sequence[Part]) -> None:
        """Say what the tokens of the next step are, in this order."""
        singles: list[int] = []
        self._long = []
        at = 0
        for part in parts:
            if part.count == 1:
                singles.append(at)
            else:
                self._long.append(self._place(part, at))
            at += part.count
        alone = [part for part in parts if part.count == 1]
        width = max((len(part.pages) for part in alone), default=0)
        table = [[*part.pages, *(0,) * (width - len(part.pages))] for part in alone]
        self._table_BN = torch.tensor(table, dtype=torch.int32, device=self._device)
        self._lengths_B = torch.tensor([part.start for part in alone], dtype=torch.int32, device=self._device)
        together = singles == list(range(len(singles)))
        self._single_B = slice(len(singles)) if together else torch.tensor(singles, device=self._device)

    def attend(self, layer: int, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
        """Append this step's keys and values, and let every token look at its own sequence up to itself."""
        assert self._single_B is not None
        if not self._long:
            return self._attend_singles(layer, q_THD, k_TGD, v_TGD)
        o_THD = torch.empty(*q_THD.shape[:2], v_TGD.shape[2], dtype=q_THD.dtype, device=q_THD.device)
        if len(self._lengths_B):
            some = self._single_B
            o_THD[some] = self._attend_singles(layer, q_THD[some], k_TGD[some], v_TGD[some])
        for part in self._long:
            o_THD[part.rows] = self._attend_part(layer, part, q_THD[part.rows], k_TGD[part.rows], v_TGD[part.rows])
        return o_THD

    def _place(self, part: Part, at: int) -> _Long:
        places = torch.arange(part.start, part.start + part.count)
        pages_N = torch.tensor(part.pages[: pages_for(part.start + part.count)])
        page_T = pages_N[places // PAGE]
        device = self._device
        return _Long(
            slice(at, at + part.count),
            part.start,
            pages_N.to(device),
            page_T.to(device),
            (places % PAGE).to(device),
        )

    def _attend_part(self, layer: int, part: _Long, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
        self._k_LPGDS[layer].permute(0, 3, 1, 2)[part.page_T, part.slot_T] = k_TGD
        self._v_LPGSD[layer].transpose(1, 2)[part.page_T, part.slot_T] = v_TGD
        mask_TM, window, end = None, self._config.windows[layer], part.start + len(q_THD)
        if part.start:
            k_TGD, v_TGD = (x[:end] for x in self._gather(layer, part.pages_N))
        if part.start or (window and end > window):
            mask_TM = torch.ones(len(q_THD), end, dtype=torch.bool, device=self._device).tril(part.start)
        if mask_TM is not None and window:
            mask_TM.triu_(part.start - window + 1)
        o_HTD = functional.scaled_dot_product_attention(
            q_THD.transpose(0, 1)[None],
            k_TGD.transpose(0, 1)[None],
            v_TGD.transpose(0, 1)[None],
            attn_mask=mask_TM,
            is_causal=mask_TM is None,
            enable_gqa=True,
        )[0]
        return o_HTD.transpose(0, 1)

    def _gather(self, layer: int, pages_N: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of some pages, (tokens, G, D) each."""
        k = self._k_LPGDS[layer, pages_N].permute(0, 3, 1, 2).flatten(0, 1)
        v = self._v_LPGSD[layer, pages_N].transpose(1, 2).flatten(0, 1)
        return k, v

    def _attend_singles(self, layer: int, q_BHD: Tensor, k_BGD: Tensor, v_BGD: Tensor) -> Tensor:
        if self._native is not None:
            return self._attend_natively(self._native, layer, q_BHD, k_BGD, v_BGD)
        rows_B, lengths_B = torch.arange(len(q_BHD), device=self._device), self._lengths_B.long()
        page_B, slot_B = self._table_BN[rows_B, lengths_B // PAGE].long(), lengths_B % PAGE
        self._k_LPGDS[layer].permute(0, 3, 1, 2)[page_B, slot_B] = k_BGD
        self._v_LPGSD[layer].transpose(1, 2)[page_B, slot_B] = v_BGD
        k_BMGD, v_BMGD = (
            x.unflatten(0, (len(q_BHD), -1)) for x in self._gather(layer, self._table_BN.long().flatten())
        )
        places_M, window = torch.arange(k_BMGD.shape[1], device=self._device), self._config.windows[layer]
        seen_BM = places_M <= lengths_B[:, None]
        if window:
            seen_BM &= places_M > lengths_B[:, None] - window
        # Beyond the last token a page holds whatever it held before; NaN times nothing is NaN.
        k_BMGD, v_BMGD = (x.masked_fill(~seen_BM[:, :, None, None], 0) for x in (k_BMGD, v_BMGD))
        # Query heads of one group share keys: with the group as the query axis nothing is repeated.
        q_BGQD = q_BHD.unflatten(1, (self._config.kv_heads, -1))
        return functional.scaled_dot_product_attention(
            q_BGQD, k_BMGD.transpose(1, 2), v_BMGD.transpose(1, 2), attn_mask=seen_BM[:, None, None]
        ).flatten(1, 2)

    def _attend_natively(self, library: ctypes.CDLL, layer: int, q_BHD: Tensor, k_BGD: Tensor, v_BGD: Tensor) -> Tensor:
        (rows, heads, width), groups, wide = q_BHD.shape, k_BGD.shape[1], v_BGD.shape[2]
        q_BHD, k_BGD, v_BGD = map(_whole_rows, (q_BHD, k_BGD, v_BGD))
        o_BHD = torch.empty(rows, heads, wide, dtype=q_BHD.dtype)
        k_pages, v_pages = self.addresses[layer]
        failed = library.paged_attend(
            *(q_BHD.data_ptr(), k_BGD.data_ptr(), v_BGD.data_ptr(), k_pages, v_pages, o_BHD.data_ptr()),
            *(self._table_BN.data_ptr(), self._lengths_B.data_ptr(), self._table_BN.shape[1]),
            *(rows, heads, groups, width, wide, q_BHD.stride(0), k_BGD.stride(0), v_BGD.stride(0)),
            *(self._config.windows[layer] or 0, width**-0.5, native.FLOATS[q_BHD.dtype], native.threads()),
        )
        if failed:
            raise MemoryError("No memory for the scores of attention")
        return o_BHD


def _whole_rows(x_BHD: Tensor) -> Tensor:
    """Rows may lie apart, as they do in the fused projection's output; what is within one may not."""
    return x_BHD if x_BHD.stride()[1:] == (x_BHD.shape[2], 1) else x_BHD.contiguous()


def affordable_pages(config: ModelConfig, item_bytes: int, cache_bytes: int | None = None) -> int:
    """Pages of a cache that takes `cache_bytes`; by default what suits the machine and holds one whole context."""
    page_bytes = PAGE * config.layers * config.kv_heads * (config.head_dim + config.v_dim) * item_bytes
    if cache_bytes:
        return min(cache_bytes // page_bytes, _MOST_PAGES)
    some = min(_machine_share() // page_bytes, _MOST_PAGES)
    return max(some, min(pages_for(config.context) + 1, _CACHE_BYTES // page_bytes))


def _machine_share() -> int:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):  # no such figure on this system
        return _CACHE_BYTES
    return min(_CACHE_BYTES, memory // _CACHE_SHARE)
