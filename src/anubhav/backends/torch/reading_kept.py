"""Prompts that were read once: their keys and values are kept, so that of what is said behind one only that is read.

A reply is read soon after it was given, and a correction of it, or another sample, has the same prompt. Only the frozen
base ever looks, so nothing but the tokens decides what is kept. Axes: T tokens of a pack, N of them to compute, P of a
prompt, H query heads, G key-value heads, D head dimension, E hidden.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.packing import Pack
from anubhav.backends.torch.models.pausing import Pause

ROOM = 4096
"""Tokens that are kept, 18 kB each of SmolLM2-135M; those of the prompt that was not asked for longest go first."""

Tokens = tuple[int, ...]
Held = Mapping[int, tuple[Tensor, Tensor]]
"""By layer: the keys and the values of a prompt, PGD."""


class Prompts:
    """Synchronous; used by the owner thread alone."""

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._tokens = room, 0
        self._held: OrderedDict[Tokens, Held] = OrderedDict()

    @property
    def tokens(self) -> int:
        return self._tokens

    def find(self, prompt: Tokens) -> Held | None:
        if prompt in self._held:
            self._held.move_to_end(prompt)
        return self._held.get(prompt)

    def keep(self, prompt: Tokens, held: Held) -> None:
        if prompt not in self._held:
            self._held[prompt] = held
            self._tokens += len(prompt)
        while self._tokens > self._room:
            self._tokens -= len(self._held.popitem(last=False)[0])


def hidden(
    model: Decoder, one: Pack, items: Sequence[tuple[Tokens, Tokens]], prompts: Prompts, pause: Pause | None
) -> Tensor:
    """(T, E) of a pack of items, prompt and answer; rows that only a kept prompt has are zero."""
    work = _Work(one, items, prompts)
    device = model.device
    new_N = torch.tensor(work.new, device=device)
    tokens_N = torch.tensor(one.tokens, device=device)[new_N]
    positions_N = torch.tensor(one.positions, device=device)[new_N]
    fresh: dict[Tokens, dict[int, tuple[Tensor, Tensor]]] = {prompt: {} for prompt in work.fresh}

    def attend(layer: int, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor) -> Tensor:
        q_THD, k_TGD, v_TGD = (_spread(x, new_N, len(one.tokens)) for x in (q_NHD, k_NGD, v_NGD))
        for rows, held in work.held:
            k_TGD[rows], v_TGD[rows] = held[layer]
        for prompt, rows in work.fresh.items():
            fresh[prompt][layer] = k_TGD[rows].clone(), v_TGD[rows].clone()
        return one.trie.attend(q_THD, k_TGD, v_TGD, model.config.windows[layer])[new_N]

    hidden_NE = model.hidden(tokens_N, positions_N, [], attend, pause)
    for prompt, held in fresh.items():
        prompts.keep(prompt, held)
    return _spread(hidden_NE, new_N, len(one.tokens))


class _Work:
    """Which rows of a pack are to be computed, where kept ones come from, and which prompts are new."""

    def __init__(self, one: Pack, items: Sequence[tuple[Tokens, Tokens]], prompts: Prompts) -> None:
        self.held: list[tuple[Tensor, Held]] = []
        self.fresh: dict[Tokens, Tensor] = {}
        known: set[int] = set()
        wanted: set[int] = set()
        asked: set[Tokens] = set()
        for number, rows in one.rows.items():
            prompt = items[number][0]
            # What is looked at is always computed, also where another item has it as its prompt.
            wanted.update(rows[len(prompt) :] or rows[-1:])
            if not prompt or prompt in asked:
                continue
            asked.add(prompt)
            own = rows[: len(prompt)]
            if held := prompts.find(prompt):
                self.held.append((torch.tensor(own), held))
                known.update(own)
            else:
                self.fresh[prompt] = torch.tensor(own)
        self.new = [row for row in range(len(one.tokens)) if row not in known or row in wanted]


def _spread(x_N: Tensor, rows_N: Tensor, count: int) -> Tensor:
    """To the rows of the whole pack, zero elsewhere."""
    if len(rows_N) == count:
        return x_N
    return x_N.new_zeros(count, *x_N.shape[1:]).index_copy_(0, rows_N, x_N)
