"""One engine under both ports, as the contract tests see it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anubhav.ports import Reader, Sampler, Trainer

VOCAB, CONTEXT = 48, 64


@dataclass(frozen=True, slots=True)
class Filler:
    trainer: Trainer
    sampler: Sampler
    busy: Callable[[], bool]
    """Whether any sample holds a slot."""
    reader: Reader


def made(folder: Path) -> Path:
    """The folder, newly made."""
    folder.mkdir()
    return folder
