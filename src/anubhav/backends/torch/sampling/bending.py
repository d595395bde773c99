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
    _bend([voice for _, voice in bent], logits_UV)
    chosen = speak(logits_UV, [voice.request.params for _, voice in bent], [steps[row] for row, _ in bent])
    tokens = _possible(logits_UV, [token for token, _ in chosen])
    # The free draw has summed the whole distribution: any other token's chance follows from its own.
    free = torch.tensor([drawn[row][0] for row, _ in bent], device=logits_BV.device)
    apart = (logits_BV[rows, tokens].float() - logits_BV[rows, free].float()).tolist()
    redrawn = list(drawn)
    for (row, voice), token, gap in zip(bent, tokens.tolist(), apart, strict=True):
        redrawn[row] = (token, drawn[row][1] + gap / (voice.request.params.temperature or 1.0))
    return redrawn


def _bend(voices: Sequence[Voice], logits_UV: Tensor) -> None:
    """In place."""
    device, masks = logits_UV.device, list[bytearray | None]()
    for place, voice in enumerate(voices):
        assert voice.bend
        if added := voice.bend.added(voice.tokens):
            ids, values = torch.tensor(list(added), device=device), torch.tensor(list(added.values()), device=device)
            logits_UV[place, ids] += values
        masks.append(_mask(voice, logits_UV.shape[1]))
    if any(masks):
        free = b"\1" * logits_UV.shape[1]
        allowed_UV = torch.frombuffer(bytearray().join(mask or free for mask in masks), dtype=torch.uint8)
        logits_UV.masked_fill_(allowed_UV.view(logits_UV.shape).to(device) == 0, _NEVER)


def _mask(voice: Voice, size: int) -> bytearray | None:
    assert voice.bend
    try:
        return voice.bend.mask(voice.tokens, size)
    except AnubhavError as problem:
        voice.emit(problem)
        voice.cancelled = True
        return None


def _possible(logits_UV: Tensor, tokens: Sequence[int]) -> Tensor:
    """Rounding may draw the very last token, which must not be one that is masked."""
    tokens_U = torch.tensor(tokens, device=logits_UV.device)
    masked_U = logits_UV.gather(-1, tokens_U[:, None])[:, 0] == _NEVER
    return torch.where(masked_U, logits_UV.argmax(-1), tokens_U) if bool(masked_U.any()) else tokens_U
