"""Prompts that no lap answers anew, so that the audit has some to judge by that no candidate practised on.

Chosen by a hash of the prompt, so that it is the same prompts in every lap, whoever asks them.
"""

import hashlib
from array import array
from collections.abc import Sequence

_SHARE = 8
"""One prompt of so many."""


def is_held_out(prompt_tokens: Sequence[int]) -> bool:
    return hashlib.sha256(array("q", prompt_tokens).tobytes()).digest()[0] % _SHARE == 0
