"""How surprised the frozen base is at each token of an answer: -log p, given the prompt and the answer so far.

Short items share the computation of what they begin with (trie packing), long ones are read in parts; logits exist for
a chunk of rows at a time. Axes: T tokens, E hidden, P (row, target) pairs.
"""

import json
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.head import score
from anubhav.backends.torch.models.packing import pack
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.reading import Item, check_tokens
from anubhav.backends.torch.reading_long import PART, walk


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of an answer, after what goes before it as far as that fits into the model."""

    item: int
    tokens: tuple[int, ...]
    """What is read: all but its last target."""
    targets: tuple[int, ...]
    """The last tokens of it moved by one place."""
    at: int
    """Where the targets stand in the answer."""


def first_token(folder: Path) -> int | None:
    """What the model was taught to begin a text with; None where its config does not say."""
    found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("bos_token_id")
    return found if isinstance(found, int) else None


def surprise(
    model: Decoder, items: Sequence[Item], first: int | None, pause: Pause | None
) -> Generator[None, None, list[list[float]]]:
    """Nats per answer token, in order. Pauses between packs of items. Raises BadInput, and reads nothing, as `read`."""
    vocab = model.config.vocab
    for prompt, answer in items:
        check_tokens((*prompt, *answer), vocab)
    opening = (first,) if first is not None and 0 <= first < vocab else ()
    # Tokens with nothing at all before them keep what stands here: the surprise of knowing nothing.
    found = [[math.log(vocab)] * len(answer) for _, answer in items]
    stretches = [
        stretch
        for number, (prompt, answer) in enumerate(items)
        for stretch in _stretches(number, tuple(prompt) or opening, tuple(answer), model.config.context)
    ]
    for one in pack([stretch.tokens for stretch in stretches], PART, model.device):
        if len(one.tokens) > PART:  # a single stretch then
            hidden_TE = yield from walk(model, one.tokens, pause)
        else:
            with torch.no_grad():
                hidden_TE = one.hidden(model, [], pause)
        pairs = [
            (row, target)
            for number, rows in one.rows.items()
            for row, target in zip(_ends(rows, stretches[number]), stretches[number].targets, strict=True)
        ]
        rows_P, targets_P = torch.tensor(pairs, device=model.device).unbind(1)
        nats = iter((-score(model, None, hidden_TE, rows_P, targets_P, pause)).clamp_min(0).tolist())
        for number in one.rows:
            stretch = stretches[number]
            end = stretch.at + len(stretch.targets)
            found[stretch.item][stretch.at : end] = [next(nats) for _ in stretch.targets]
        yield
    return found


def _stretches(item: int, prompt: tuple[int, ...], answer: tuple[int, ...], room: int) -> Iterator[_Stretch]:
    tokens = prompt + answer
    at = max(len(prompt), 1)
    most = len(tokens) if len(tokens) <= room + 1 else max(room // 2, 1)
    while at < len(tokens):
        end = min(at + most, len(tokens))
        yield _Stretch(item, tokens[max(0, end - 1 - room) : end - 1], tokens[at:end], at - len(prompt))
        at = end


def _ends(rows: tuple[int, ...], stretch: _Stretch) -> tuple[int, ...]:
    return rows[len(rows) - len(stretch.targets) :]
