"""Rival (b): nightly supervised fine-tuning on the corrections of the day, and on nothing else."""

from collections.abc import Sequence
from random import Random

from benchmarks.loop.methods.student import Student
from benchmarks.loop.records import Record, corrections

_STEPS, _RATE = 30, 1.2e-3
"""What the loop's own imitation uses: more steps forget without learning more (docs/lab-notes.md)."""
_BATCH = 32


class NightlySft:
    name = "sft"
    about = "nightly SFT on corrections only"

    def __init__(self, student: Student) -> None:
        self.student = student

    def night(self, records: Sequence[Record], budget: int, seed: int) -> None:
        """At most the recipe's steps, and at most `budget` tokens."""
        examples = [(self.student.prompt(item), self.student.answer(text)) for item, text in corrections(records)]
        if not examples:
            return
        chance, end = Random(seed), self.student.spent + budget
        for step in range(_STEPS):
            batch = chance.sample(examples, min(_BATCH, len(examples)))
            if self.student.spent + sum(len(prompt) + len(answer) for prompt, answer in batch) > end:
                return
            self.student.imitate(batch, _RATE * (1.0 - step / _STEPS))
