"""Draws of those samples that something bends: once more, from bent logits. What is told of them stays the model's own.

Axes: B rows, U those that are bent, V vocabulary.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from anubhav.backends.torch.sampling.draw import speak
from anubhav.backends.torch.sampling.voices import Voice
from anubhav.errors import AnubhavError

Drawn = list[tuple[int, float]]
_NEVER: Final = float("-inf")


def redraw(voices: Sequence[Voice], logits_BV: Tensor, drawn: Drawn, steps: Sequence[tuple[int, int, int]]) -> Drawn:
    """`drawn` of these voices, with another token for each that something bends. One whose grammar fails ends."""
    bent = [(row, voice) for row, voice in enumerate(voices) if voice.bend]
    if not bent:
        return drawn
    rows = torch.tensor([row for row, _ in bent], device=logits_BV.device)
    logits_UV = logits_BV[rows].float()
    for place, (_, voice) in enumerate(bent):
        _bend(voice, logits_UV[place])
    chosen = speak(logits_UV, [voice.request.params for _, voice in bent], [steps[row] for row, _ in bent])
    tokens = _possible(logits_UV, [token for token, _ in chosen])
    # The free draw has summed the whole distribution: any other token's chance follows from its own.
    free = torch.tensor([drawn[row][0] for row, _ in bent], device=logits_BV.device)
    apart = (logits_BV[rows, tokens].float() - logits_BV[rows, free].float()).tolist()
    redrawn = list(drawn)
    for (row, voice), token, gap in zip(bent, tokens.tolist(), apart, strict=True):
        redrawn[row] = (token, drawn[row][1] + gap / (voice.request.params.temperature or 1.0))
    return redrawn


def _bend(voice: Voice, logits_V: Tensor) -> None:
    """In place."""
    assert voice.bend
    try:
        mask = voice.bend.mask(voice.tokens, len(logits_V))
    except AnubhavError as problem:
        voice.emit(problem)
        voice.cancelled = True
        return
    if added := voice.bend.added(voice.tokens):
        logits_V[torch.tensor(list(added), device=logits_V.device)] += torch.tensor(
            list(added.values()), device=logits_V.device
        )
    if mask is not None:
        allowed_V = torch.frombuffer(mask, dtype=torch.uint8).to(logits_V.device)
        logits_V.masked_fill_(allowed_V == 0, _NEVER)


def _possible(logits_UV: Tensor, tokens: Sequence[int]) -> Tensor:
    """Rounding may draw the very last token, which must not be one that is masked."""
    tokens_U = torch.tensor(tokens, device=logits_UV.device)
    masked_U = logits_UV.gather(-1, tokens_U[:, None])[:, 0] == _NEVER
    return torch.where(masked_U, logits_UV.argmax(-1), tokens_U) if bool(masked_U.any()) else tokens_U
