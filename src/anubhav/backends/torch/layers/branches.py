"""Attention over the branches of a trie: each branch looks at its ancestors and, causally, at itself.

Where there are kernels for it they take the branches one by one. Plain torch computes those of similar size as one
padded batch, a bucket; a mask over the whole trie would cost the square of its tokens.
Axes: T packed tokens, H query heads, G key-value heads, D head dimension; B branches of a bucket, N rows of its longest
branch, M rows of its longest path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.layers import fused_attention

_WASTE = 2
"""A branch joins a bucket whose padding makes it at most this many times larger."""


@dataclass(frozen=True, slots=True)
class Branch:
    path: tuple[int, ...]
    """The rows of all its tokens from the root."""
    shared: int
    """How many of them it shares with an earlier branch; the rest are its own and stand side by side."""

    @property
    def own(self) -> tuple[int, ...]:
        return self.path[self.shared :]

    @property
    def cost(self) -> int:
        return len(self.own) * len(self.path)


@dataclass(frozen=True, slots=True)
class Bucket:
    queries_X: Tensor
    """B·N rows; what is padding repeats a row and its result is thrown away."""
    keys_Y: Tensor
    """B·M rows."""
    mask_B1NM: Tensor | None
    """True where a row may look; None is plain causal (one branch, nothing shared)."""
    places_X: Tensor
    """Which of the B·N results are no padding."""
    rows_X: Tensor
    """Where those belong in T."""
    branches: int


def fill_buckets(branches: Sequence[Branch], device: torch.device, window: int | None = None) -> tuple[Bucket, ...]:
    """`window`: a row looks at so many of the last rows of its path, itself among them."""
    buckets: list[list[Branch]] = []
    longest = widest = 0
    for branch in sorted(branches, key=lambda branch: (-len(branch.own), -len(branch.path))):
        widest = max(widest, len(branch.path))
        if not buckets or longest * widest > _WASTE * branch.cost:
            buckets.append([])
            longest, widest = len(branch.own), len(branch.path)
        buckets[-1].append(branch)
    return tuple(_bucket(members, device, window) for members in buckets)


def _bucket(members: list[Branch], device: torch.device, window: int | None) -> Bucket:
    longest, widest = max(len(one.own) for one in members), max(len(one.path) for one in members)
    queries_BN = torch.zeros(len(members), longest, dtype=torch.long)
    keys_BM = torch.zeros(len(members), widest, dtype=torch.long)
    real_BN = torch.zeros(len(members), longest, dtype=torch.bool)
    mask_BNM = torch.zeros(len(members), longest, widest, dtype=torch.bool)
    for place, one in enumerate(members):
        own, all_of_it = len(one.own), len(one.path)
        queries_BN[place, :own], keys_BM[place, :all_of_it] = torch.tensor(one.own), torch.tensor(one.path)
        real_BN[place, :own] = True
        seen_NM = torch.ones(own, all_of_it, dtype=torch.bool).tril(one.shared)
        mask_BNM[place, :own, :all_of_it] = seen_NM if window is None else seen_NM.triu(one.shared - window + 1)
        mask_BNM[place, own:, 0] = True  # a softmax over nothing would be NaN, and so would its gradient
    plain = len(members) == 1 and members[0].shared == 0 and window is None
    return Bucket(
        queries_BN.flatten().to(device),
        keys_BM.flatten().to(device),
        None if plain else mask_BNM[:, None].to(device),
        real_BN.flatten().nonzero()[:, 0].to(device),
        queries_BN[real_BN].to(device),
        len(members),
    )


class Trie:
    """The branches of one pack, laid out as it is needed for whoever computes them."""

    def __init__(self, branches: Sequence[Branch], device: torch.device) -> None:
        self._branches, self._device = tuple(branches), device
        self._longest = max((len(branch.path) for branch in branches), default=0)
        self._buckets: dict[int | None, tuple[Bucket, ...]] = {}

    def buckets(self, window: int | None = None) -> tuple[Bucket, ...]:
        if window not in self._buckets:
            self._buckets[window] = fill_buckets(self._branches, self._device, window)
        return self._buckets[window]

    @cached_property
    def paths(self) -> fused_attention.Paths:
        return fused_attention.lay_paths([(branch.path, branch.shared) for branch in self._branches])

    def attend(self, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor, window: int | None = None) -> Tensor:
        """o_THD, differentiable. With a `window` a token looks at so many tokens, itself among them."""
        window = window if window and window < self._longest else None
        if window is None and fused_attention.takes(q_THD, k_TGD, v_TGD):
            return fused_attention.attend(self.paths, q_THD, k_TGD, v_TGD)
        buckets = self.buckets(window)
        o_THD = torch.cat([_attend_bucket(bucket, q_THD, k_TGD, v_TGD) for bucket in buckets])
        return torch.empty_like(o_THD).index_copy(0, torch.cat([bucket.rows_X for bucket in buckets]), o_THD)


def _attend_bucket(bucket: Bucket, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
    def gather(x_TXD: Tensor, rows: Tensor) -> Tensor:
        return x_TXD.index_select(0, rows).unflatten(0, (bucket.branches, -1)).transpose(1, 2)

    q_BHND, k_BGMD, v_BGMD = gather(q_THD, bucket.queries_X), gather(k_TGD, bucket.keys_Y), gather(v_TGD, bucket.keys_Y)
    o_BHND = functional.scaled_dot_product_attention(
        q_BHND, k_BGMD, v_BGMD, attn_mask=bucket.mask_B1NM, is_causal=bucket.mask_B1NM is None, enable_gqa=True
    )
    return o_BHND.transpose(1, 2).flatten(0, 1).index_select(0, bucket.places_X)
