"""Trie packing: sequences that begin alike share the computation of their common prefix, and no token is padded.

Sequences are sorted, so that each shares most with the one before it and adds one branch: the rows it does not share.
A token attends to its ancestors only, so results and gradients are those of the sequences alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.layers.branches import Branch, Trie
from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.models.routing import Routing


@dataclass(frozen=True, slots=True)
class Pack:
    """Branches that are computed together."""

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    rows: dict[int, tuple[int, ...]]
    """Per sequence number: the row of each of its tokens."""
    trie: Trie

    def hidden(
        self,
        model: Decoder,
        segments: Sequence[Segment],
        pause: Pause | None = None,
        routing: Routing | None = None,
    ) -> Tensor:
        """The final hidden states of its tokens, (T, E). `pause` is called between layers, forward and backward."""
        device = model.device
        tokens_T, positions_T = torch.tensor(self.tokens, device=device), torch.tensor(self.positions, device=device)

        def attend(layer: int, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
            return self.trie.attend(q_THD, k_TGD, v_TGD, model.config.windows[layer])

        return model.hidden(tokens_T, positions_T, segments, attend, pause, routing)

    def times(self) -> Tensor:
        """How many of the sequences have each token in common."""
        rows = [row for rows in self.rows.values() for row in rows]
        return torch.bincount(torch.tensor(rows), minlength=len(self.tokens))


Item = int | tuple[int, bytes]
"""A token, or a token with a mark: tokens with unlike marks are not shared."""


def pack(sequences: Sequence[tuple[Item, ...]], budget: int, device: torch.device) -> list[Pack]:
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
        self.tokens: list[Item] = []
        self._positions: list[int] = []
        self._rows: dict[int, tuple[int, ...]] = {}
        self._branches: list[Branch] = []
        self._path: tuple[int, ...] = ()
        """The rows of the sequence added last."""

    def common(self, sequence: tuple[Item, ...]) -> int:
        """How many tokens `sequence` shares with the one added last."""
        length = 0
        for row, token in zip(self._path, sequence, strict=False):
            if self.tokens[row] != token:
                break
            length += 1
        return length

    def add(self, number: int, sequence: tuple[Item, ...]) -> None:
        common, start = self.common(sequence), len(self.tokens)
        self.tokens.extend(sequence[common:])
        self._positions.extend(range(common, len(sequence)))
        self._path = (*self._path[:common], *range(start, len(self.tokens)))
        self._rows[number] = self._path
        if len(self.tokens) > start:  # else a repetition, or a prefix, of the one before
            self._branches.append(Branch(self._path, common))

    def finish(self, device: torch.device) -> Pack:
        tokens = tuple(item if isinstance(item, int) else item[0] for item in self.tokens)
        return Pack(tokens, tuple(self._positions), self._rows, Trie(self._branches, device))
