"""What an engine would compute with on this machine, for whoever asks before one is opened."""

import os
from dataclasses import dataclass

import torch

from anubhav.backends.torch.kernels import native
from anubhav.backends.torch.precision import has_bfloat16


@dataclass(frozen=True, slots=True)
class Means:
    """What an engine of ours would compute with here."""

    cores: int
    """For this process."""
    instructions: str
    """The widest set that torch uses of this CPU."""
    has_bfloat16: bool
    kernels: bool | None
    """Whether they are loaded; None when they are turned off."""
    cards: tuple[tuple[str, int], ...]
    """(name, bytes) of each accelerator."""


def find_means() -> Means:
    """Builds the kernels if need be."""
    off = os.environ.get("ANUBHAV_NATIVE") == "0"
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return Means(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        torch.backends.cpu.get_cpu_capability(),
        has_bfloat16(),
        None if off else native.library() is not None,
        tuple((card.name, card.total_memory) for card in cards),
    )
