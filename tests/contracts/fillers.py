"""One engine under both ports, as the contract tests see it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from anubhav.ports import Reader, Sampler, Trainer

VOCAB, CONTEXT = 48, 64
END = 0
"""The token that ends a sample, where one is asked to."""
LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789 -+.,:{}[]"'


@dataclass(frozen=True, slots=True)
class Filler:
    trainer: Trainer
    sampler: Sampler
    busy: Callable[[], bool]
    """Whether any sample holds a slot."""
    reader: Reader


def write_tokenizer(folder: Path) -> None:
    """A token for each letter, after the end."""
    words = {letter.replace(" ", "Ġ"): place + 1 for place, letter in enumerate(LETTERS)}
    tokenizer = Tokenizer(models.BPE({"<end>": END, **words}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))


def made(folder: Path) -> Path:
    """The folder, newly made."""
    folder.mkdir()
    return folder
