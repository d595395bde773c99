"""Trie packing: sequences that begin alike share the computation of their common prefix, and nothing is padded.

Sequences are sorted, so that each shares most with the one before it; a tree holds sequences that share at least
`_WORTHWHILE` tokens with a neighbour. A token attends to its ancestors only, so results and gradients are those of the
sequences alone. Axes: T packed tokens of a pack, P scored (position, target) pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_WORTHWHILE = 16
"""Sharing fewer tokens than this costs more in attention masks than it saves."""


@dataclass(frozen=True, slots=True)
class Tree:
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    mask_TT: Tensor | None
    """True where row may look at column; None is plain causal (a single sequence)."""
    rows: dict[int, tuple[int, ...]]
    """Per sequence number: the row of each of its tokens."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Trees that are computed together."""

    trees: tuple[Tree, ...]

    @property
    def tokens(self) -> list[int]:
        return [token for tree in self.trees for token in tree.tokens]

    @property
    def positions(self) -> list[int]:
        return [position for tree in self.trees for position in tree.positions]

    def rows(self) -> Iterator[tuple[int, list[int]]]:
        """(sequence number, its rows in this pack)."""
        start = 0
        for tree in self.trees:
            for number, rows in tree.rows.items():
                yield number, [start + row for row in rows]
            start += len(tree.tokens)

    def attend(self, _layer: int, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
        """Attention within each tree."""
        sizes = [len(tree.tokens) for tree in self.trees]
        parts = zip(self.trees, q_THD.split(sizes), k_TGD.split(sizes), v_TGD.split(sizes), strict=True)
        return torch.cat([_attend_tree(tree, q, k, v) for tree, q, k, v in parts])


def _attend_tree(tree: Tree, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
    q, k, v = (x.transpose(0, 1)[None] for x in (q_THD, k_TGD, v_TGD))
    mask = None if tree.mask_TT is None else tree.mask_TT.to(q.device)
    o = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
    return o[0].transpose(0, 1)


def pack(sequences: Sequence[tuple[int, ...]], budget: int) -> list[Pack]:
    """Packs of at most `budget` tokens each (a single longer sequence makes a pack of its own)."""
    packs: list[Pack] = []
    trees: list[Tree] = []
    room = budget
    for tree in _grow(sequences, budget):
        if trees and len(tree.tokens) > room:
            packs.append(Pack(tuple(trees)))
            trees, room = [], budget
        trees.append(tree)
        room -= len(tree.tokens)
    return [*packs, Pack(tuple(trees))] if trees else packs


def _grow(sequences: Sequence[tuple[int, ...]], budget: int) -> Iterator[Tree]:
    order = sorted(range(len(sequences)), key=lambda number: sequences[number])
    members: list[int] = []
    shared: list[int] = []
    size = 0
    for number in order:
        common = _common(sequences[members[-1]], sequences[number]) if members else 0
        extra = len(sequences[number]) - common
        if members and (common < _WORTHWHILE or size + extra > budget):
            yield _plant(sequences, members, shared)
            members, shared, size, common = [], [], 0, 0
            extra = len(sequences[number])
        members.append(number)
        shared.append(common)
        size += extra
    if members:
        yield _plant(sequences, members, shared)


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    length = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        length += 1
    return length


def _plant(sequences: Sequence[tuple[int, ...]], members: list[int], shared: list[int]) -> Tree:
    tokens: list[int] = []
    positions: list[int] = []
    rows: dict[int, tuple[int, ...]] = {}
    path: list[int] = []
    branches: list[tuple[list[int], int]] = []
    for number, common in zip(members, shared, strict=True):
        sequence = sequences[number]
        path = [*path[:common], *range(len(tokens), len(tokens) + len(sequence) - common)]
        tokens.extend(sequence[common:])
        positions.extend(range(common, len(sequence)))
        rows[number] = tuple(path)
        branches.append((path, common))
    mask = _mask(len(tokens), branches) if len(members) > 1 else None
    return Tree(tuple(tokens), tuple(positions), mask, rows)


def _mask(size: int, branches: list[tuple[list[int], int]]) -> Tensor:
    mask_TT = torch.zeros(size, size, dtype=torch.bool)
    for path, common in branches:
        if common == len(path):
            continue  # a repetition, or a prefix, of the sequence before: nothing new was planted
        new = slice(path[common], path[-1] + 1)
        mask_TT[new, torch.tensor(path[:common], dtype=torch.long)] = True
        mask_TT[new, new] = torch.ones(len(path) - common, len(path) - common, dtype=torch.bool).tril()
    return mask_TT
