"""The Reader port: what the frozen base makes of an answer, as a short vector that a small head can be fitted on.

The first part of the layers is run (all, where transformers computes them), without any adapter, over the end of the
prompt and the answer; the hidden states of the answer (their mean) and of its last token stand side by side. Raw states
are dominated by a few directions of huge variance, so they are standardised and turned into principal components by
statistics taken once from fixed general texts (Mu and Viswanath, 2018, "All-but-the-Top"); the components keep the
square root of their spread, so that what varies most in general text weighs more, and nothing dominates.
Axes: T tokens, E hidden, S = 2 E, N texts, F features.
"""

import copy
import json
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.model import Model
from anubhav.backends.torch.models.packing import pack
from anubhav.backends.torch.models.pausing import Pause
from anubhav.backends.torch.reading_kept import Prompts, hidden
from anubhav.errors import BadInput
from anubhav.types.arrays import Array, floats

Item = tuple[Sequence[int], Sequence[int]]
"""(prompt tokens, answer tokens)"""
WIDTH = 64
_DEPTH = 0.4
"""Of the layers: a third did as well as two thirds in half the time (docs/loop-rewards.md)."""
_BUDGET = 256
"""Tokens read of an item, and of a micro-batch: a quarter for the end of the prompt, the rest for the answer's ends."""
_WINDOW = 8
"""Tokens of a general text between two places where its statistics are taken."""
_FAR = 4.0
"""Deviations beyond which a standardised state is cut off."""


@dataclass(frozen=True, slots=True)
class _Lens:
    """How states become features."""

    mean_S: Tensor
    deviation_S: Tensor
    parts_SF: Tensor


class Reading:
    """Synchronous; used by the owner thread alone."""

    def __init__(self, model: Decoder, folder: Path, *, pause: Pause | None = None) -> None:
        self._model, self._folder, self._pause = model, folder, pause
        self._shallow = _shallow(model)
        self._lens: _Lens | None = None
        self._prompts = Prompts()

    def read(self, items: Sequence[Item]) -> Generator[None, None, list[Array]]:
        """The features of each, in order. Pauses between micro-batches."""
        for prompt, answer in items:
            check_tokens((*prompt, *answer), self._model.config.vocab)
        if self._lens is None:
            self._lens = yield from self._grind()
        states_NS = yield from self._states(items)
        features_NF = _look(self._lens, states_NS)
        return [floats(row.tolist()) for row in features_NF]

    def _states(self, given: Sequence[Item]) -> Generator[None, None, Tensor]:
        """(N, S), of items that are shortened to what the model reads."""
        room = min(_BUDGET, self._model.config.context)
        items = [_shortened(item, room) for item in given]
        found: dict[int, Tensor] = {}
        for one in pack([prompt + answer for prompt, answer in items], _BUDGET, self._model.device):
            with torch.no_grad():
                hidden_TE = hidden(self._shallow, one, items, self._prompts, self._pause).float()
            for number, rows in one.rows.items():
                answer = rows[len(items[number][0]) :] or rows[-1:]
                found[number] = torch.cat([hidden_TE[list(answer)].mean(0), hidden_TE[rows[-1]]]).cpu()
            yield
        return torch.stack([found[number] for number in range(len(items))])

    def _grind(self) -> Generator[None, None, _Lens]:
        """From general texts, cut at several places so that beginnings and ends of answers are both seen."""
        texts = _general(self._folder, self._model.config.vocab)
        items = [
            (prompt, answer[:end])
            for prompt, answer in texts
            for end in sorted({*range(_WINDOW, len(answer), _WINDOW), len(answer)})
        ]
        states_NS = yield from self._states(items)
        mean_S = states_NS.mean(0)
        deviation_S = states_NS.std(0).clamp_min(1e-6)
        standard_NS = ((states_NS - mean_S) / deviation_S).clamp(-_FAR, _FAR).double()
        _, spread, parts_RS = torch.linalg.svd(standard_NS, full_matrices=False)
        count = min(WIDTH, len(spread))
        parts_RS = parts_RS[:count]
        # The sign of a component is chance: its largest entry decides.
        largest = parts_RS.gather(1, parts_RS.abs().argmax(1, keepdim=True))
        parts_RS = parts_RS * largest.sign()
        scale_R = spread[:count] / len(states_NS) ** 0.5
        # Divided by its deviation a component has unit variance; times the root of its relative spread it is shaded.
        shaded_R = (scale_R / scale_R[0]).sqrt() / scale_R.clamp_min(1e-6)
        return _Lens(mean_S, deviation_S, (parts_RS * shaded_R[:, None]).T.float())


def check_tokens(tokens: Sequence[int], vocab: int) -> None:
    """Raises BadInput for tokens the model does not have, and for none at all."""
    if not tokens or not all(0 <= token < vocab for token in tokens):
        raise BadInput(f"To read takes token ids in 0..{vocab - 1}", hint="Tokenize with the model's tokenizer.")


def _shallow(model: Decoder) -> Decoder:
    if not isinstance(model, Model):
        return model
    found = copy.copy(model)
    found.layers = model.layers[: max(1, round(len(model.layers) * _DEPTH))]
    return found


def _look(lens: _Lens, states_NS: Tensor) -> Tensor:
    """(N, F): shorter models have fewer components, and zeros behind them."""
    standard_NS = ((states_NS - lens.mean_S) / lens.deviation_S).clamp(-_FAR, _FAR)
    found_NF = (standard_NS @ lens.parts_SF).clamp(-_FAR, _FAR)
    return torch.nn.functional.pad(found_NF, (0, WIDTH - found_NF.shape[1]))


def _shortened(item: Item, room: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    prompt, answer, tail = tuple(item[0]), tuple(item[1]), room // 4
    if len(answer) > 3 * tail:
        answer = (*answer[: 2 * tail], *answer[-tail:])
    return prompt[-tail:], answer


def _general(folder: Path, vocab: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The general texts in the model's own tokens; seeded noise for a model folder without a tokenizer."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        chance = random.Random(0)
        drawn = [tuple(chance.randrange(vocab) for _ in range(24)) for _ in range(64)]
        return [(tokens[:6], tokens[6:]) for tokens in drawn]
    tokenizer = Tokenizer.from_file(str(file))

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

    return [(encode(f"{ask}\n"), encode(answer)) for ask, answer in _texts()]


@cache
def _texts() -> tuple[tuple[str, str], ...]:
    raw = json.loads(files("anubhav.backends.torch").joinpath("general.json").read_text(encoding="utf-8"))
    return tuple((ask, answer) for ask, answer in raw)
