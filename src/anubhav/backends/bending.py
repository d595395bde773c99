"""What bends the draws of one sample: penalties, biases and a grammar, as numbers for whichever sampler draws.

Beside the backends rather than in one, as they share the arithmetic and must not import each other.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from anubhav.errors import BadInput
from anubhav.grammars.holding import Held, hold
from anubhav.types.sampling import SamplingParams

_MOST: Final = 1e4
"""Of a bias or a penalty. A float of 32 bits loses the model's own logits beside larger ones."""


class Bend:
    """Of one sample, told its tokens each time; they may only grow."""

    def __init__(self, params: SamplingParams, held: Held | None) -> None:
        self._presence, self._frequency = params.presence_penalty, params.frequency_penalty
        self._bias = dict(params.logit_bias)
        self._held = held
        self._counts: Counter[int] = Counter()

    def added(self, tokens: Sequence[int]) -> Mapping[int, float]:
        """Token → what is added to its logit."""
        if not self._presence and not self._frequency:
            return self._bias
        self._counts.update(tokens[self._counts.total() :])
        added = {token: -self._presence - self._frequency * count for token, count in self._counts.items()}
        for token, bias in self._bias.items():
            added[token] = added.get(token, 0.0) + bias
        return added

    def mask(self, tokens: Sequence[int], size: int) -> bytearray | None:
        """A byte for each of `size` tokens, 0 for those that may not be drawn; None where all may.

        Raises BadInput when the grammar cannot be held to any further.
        """
        return self._held.mask(tokens, size) if self._held else None

    def over(self, tokens: Sequence[int]) -> bool:
        """Whether the sample ends here, though no stop token says so."""
        return self._held is not None and self._held.over(tokens)


async def bends(params: SamplingParams, folder: Path | None, count: int) -> list[Bend | None]:
    """One for each sample, None where nothing bends them. Raises BadInput for a grammar that cannot be held to."""
    held = None
    if params.grammar:
        if folder is None:
            raise BadInput("This model has no tokenizer, so its samples can be held to nothing", hint="Ask for text.")
        held = await asyncio.to_thread(hold, folder, params.stop_tokens, params.grammar)
    elif not (params.presence_penalty or params.frequency_penalty or params.logit_bias):
        return [None] * count
    return [Bend(params, held.copy() if held else None) for _ in range(count)]


def refuse_bends(params: SamplingParams, vocab: int) -> None:
    """Raises BadInput for tokens that the model does not have and for numbers that say nothing."""
    unknown = [token for token, _ in params.logit_bias if not 0 <= token < vocab]
    if unknown:
        raise BadInput(
            f"logit_bias names tokens the model does not have: {', '.join(map(str, unknown[:5]))}",
            hint=f"Its token ids are 0 to {vocab - 1}.",
        )
    numbers = (params.presence_penalty, params.frequency_penalty, *(bias for _, bias in params.logit_bias))
    if not all(math.isfinite(number) and abs(number) <= _MOST for number in numbers):
        raise BadInput(f"Penalties and biases are numbers from {-_MOST:g} to {_MOST:g}", hint="Correct them.")
