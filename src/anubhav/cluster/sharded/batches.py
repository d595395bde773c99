"""How the data of a pass are dealt out: which ranks take which, in micro-batches of so many tokens.

A pure function of lengths and layout, so every rank finds the same without asking. All data ranks get equally many
micro-batches, as they meet in collectives; an empty one stands for nothing. Sequences are padded on the right, which a
causal model does not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    numbers: tuple[int, ...]
    """Of the data that are its rows; none in a batch that only keeps the others company."""
    rows: int
    length: int
    """Tokens of a row, padding included."""


def deal(lengths: Sequence[int], ranks: int, budget: int, multiple: int = 1, stages: int = 1) -> list[list[Batch]]:
    """The micro-batches of each data rank, in rows whose length is a multiple of something.

    A sequence longer than the budget is a batch of its own. Stages of a pipeline want batches of one shape on a rank,
    and one for each stage at least.
    """
    hands: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        least = loads.index(min(loads))
        hands[least].append(number)
        loads[least] += lengths[number]
    found = [_split(hand, lengths, budget, multiple, stages) for hand in hands]
    most = max(stages, *map(len, found))
    return [batches + [_company(batches, multiple, stages)] * (most - len(batches)) for batches in found]


def _split(numbers: Sequence[int], lengths: Sequence[int], budget: int, multiple: int, stages: int) -> list[Batch]:
    """`numbers` come longest first, so the first of a batch says how long its rows are."""
    batches: list[Batch] = []
    rest = list(numbers)
    while rest:
        longest = numbers[0] if stages > 1 else rest[0]
        length = -(-lengths[longest] // multiple) * multiple
        rows = max(1, min(budget // length, -(-len(numbers) // stages)))
        taken = tuple(rest[:rows])
        batches.append(Batch(taken, rows if stages > 1 else len(taken), length))
        rest = rest[rows:]
    return batches


def _company(batches: Sequence[Batch], multiple: int, stages: int) -> Batch:
    """A batch of nothing, in the shape of the others where that matters."""
    return Batch((), batches[0].rows, batches[0].length) if stages > 1 and batches else Batch((), 1, multiple)
