"""Trie packing: sequences that begin alike share the computation of their common prefix, and no token is padded.

Sequences are sorted, so that each shares most with the one before it and adds one branch: the rows it does not share.
A token attends to its ancestors only, so results and gradients are those of the sequences alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.branches import Branch, Bucket, attend, fill_buckets
from anubhav.backends.torch.lora import Segment
from anubhav.backends.torch.model import Model


@dataclass(frozen=True, slots=True)
class Pack:
    """Branches that are computed together."""

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    rows: dict[int, tuple[int, ...]]
    """Per sequence number: the row of each of its tokens."""
    buckets: tuple[Bucket, ...]

    def hidden(self, model: Model, segments: Sequence[Segment]) -> Tensor:
        """The final hidden states of its tokens, (T, E)."""
        device = model.device
        tokens_T, positions_T = torch.tensor(self.tokens, device=device), torch.tensor(self.positions, device=device)
        return model.hidden(tokens_T, positions_T, segments, self.attend)

    def attend(self, _layer: int, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
        return attend(self.buckets, q_THD, k_TGD, v_TGD)


def pack(sequences: Sequence[tuple[int, ...]], budget: int, device: torch.device) -> list[Pack]:
    """Packs of at most `budget` tokens each (a single longer sequence makes a pack of its own)."""
    packs: list[Pack] = []
    growing = _Growing()
    for number in sorted(range(len(sequences)), key=lambda number: sequences[number]):
        sequence = sequences[number]
        if growing.tokens and len(growing.tokens) + len(sequence) - growing.common(sequence) > budget:
            packs.append(growing.finish(device))
            growing = _Growing()
        growing.add(number, sequence)
    return [*packs, growing.finish(device)] if growing.tokens else packs


class _Growing:
    """A pack to which sorted sequences are added."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._positions: list[int] = []
        self._rows: dict[int, tuple[int, ...]] = {}
        self._branches: list[Branch] = []
        self._path: tuple[int, ...] = ()
        """The rows of the sequence added last."""

    def common(self, sequence: tuple[int, ...]) -> int:
        """How many tokens `sequence` shares with the one added last."""
        length = 0
        for row, token in zip(self._path, sequence, strict=False):
            if self.tokens[row] != token:
                break
            length += 1
        return length

    def add(self, number: int, sequence: tuple[int, ...]) -> None:
        common, start = self.common(sequence), len(self.tokens)
        self.tokens.extend(sequence[common:])
        self._positions.extend(range(common, len(sequence)))
        self._path = (*self._path[:common], *range(start, len(self.tokens)))
        self._rows[number] = self._path
        if len(self.tokens) > start:  # else a repetition, or a prefix, of the one before
            self._branches.append(Branch(self._path, common))

    def finish(self, device: torch.device) -> Pack:
        return Pack(tuple(self.tokens), tuple(self._positions), self._rows, fill_buckets(self._branches, device))
