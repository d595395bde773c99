"""Prefixed identifiers: one look at an id says what it names (`ep_`, `fb_`, `rel_`, `lap_`, `pr_`, `ad_` …)."""

import os
import time
from typing import NewType

AdapterId = NewType("AdapterId", str)
"""LoRA weights at one version. Trainers key a live adapter by its run id, samplers by a hash of the weights."""

RunId = NewType("RunId", str)
"""A training run, `<session>:train:<n>`: the shape the Tinker SDK computes on its own side."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """A fresh id `<prefix>_<26 characters>` that sorts by the time it was made (a ULID in lower case)."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    return f"{prefix}_" + "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
