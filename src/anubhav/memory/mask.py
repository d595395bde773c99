"""Mask: which chunks are taken up for rewriting when new words need room.

A chunk's use is s (1 - exp(-b / tau)) for the b tokens it has; its last token adds s / tau exp(-b / tau). Those whose
last token adds least are masked, one after another, until rewriting them can free what is needed twice over: the
allocation then still has a choice.
"""

from collections.abc import Sequence

from anubhav.memory.allocate import Claim

_CHOICE = 3.0
"""Times what is needed that the masked chunks hold beyond the mere joining words."""


def mask(claims: Sequence[Claim], free: Sequence[bool], tokens: Sequence[int], need: int) -> list[int]:
    """Indices of the masked chunks, in order. `free`: not protected; `tokens`: what each costs now."""
    chosen = [i for i, ok in enumerate(free) if ok and tokens[i] > claims[i].most]
    held = 0
    for i in sorted((i for i, ok in enumerate(free) if ok), key=lambda i: claims[i].score / claims[i].tau):
        if held >= need * _CHOICE:
            break
        chosen.append(i)
        held += claims[i].most
    return sorted(set(chosen))
