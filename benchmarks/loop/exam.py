"""The exam: the held-out test of every task, which never leaves the simulator and is marked by the hidden truth.

Replies are kept by what spoke, so that a voice is examined once and can be marked again when a fact has changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from benchmarks.loop.line import Asked, Line
from benchmarks.loop.people import general
from benchmarks.loop.people.task import Item, Task


@dataclass(frozen=True)
class Marks:
    """How good each held-out reply truly was, task by task, in one order for every voice."""

    by_task: dict[str, list[float]]

    @property
    def success(self) -> float:
        """The mean of the tasks' means."""
        means = [sum(marks) / len(marks) for marks in self.by_task.values()]
        return sum(means) / len(means)

    def of(self, task: str) -> float:
        return sum(self.by_task[task]) / len(self.by_task[task])

    def win_rate(self, other: "Marks") -> float:
        """How often a reply is truly better than the other's, a tie counting half; tasks weigh the same."""
        rates: list[float] = []
        for task, marks in self.by_task.items():
            won = [
                (ours > theirs) + 0.5 * (ours == theirs)
                for ours, theirs in zip(marks, other.by_task[task], strict=True)
            ]
            rates.append(sum(won) / len(won))
        return sum(rates) / len(rates)

    @property
    def items(self) -> int:
        return sum(map(len, self.by_task.values()))


class Exam:
    def __init__(self, line: Line, tasks: Sequence[Task], seed: int, share: float = 1.0) -> None:
        """`share` of each task's held-out items, and of the common questions, are asked, drawn from the seed."""
        self._line, self._tasks = line, {task.name: task for task in tasks}
        self._items: dict[str, list[Item]] = {}
        for task in tasks:
            items = task.held_out()
            kept = max(1, round(share * len(items)))
            self._items[task.name] = Random(f"exam:{seed}:{task.name}").sample(items, kept)
        common = general.questions()
        self._common = Random(f"exam:{seed}:general").sample(common, max(1, round(share * len(common))))
        self._said: dict[tuple[str, Item], str] = {}

    @property
    def items(self) -> dict[str, list[Item]]:
        return self._items

    def mark(self, voice: str, model: str, day: int, key: str | None = None) -> Marks:
        """`voice` names what speaks, whatever it is called now; `model` is how to ask for it today, `key` whose."""
        asked = [item for items in self._items.values() for item in items]
        # The common questions with them, which are asked of every voice: one burst keeps a server busier than two.
        said = self.say(voice, model, [*asked, *self._common], key)[: len(asked)]
        marks: dict[str, list[float]] = {name: [] for name in self._items}
        for item, text in zip(asked, said, strict=True):
            marks[item.task].append(self._tasks[item.task].truth(item, text, day))
        return Marks(marks)

    def deceived(self, voice: str, model: str, day: int) -> float:
        """Share of the held-out facts about which the voice says what hostile raters taught; sums are no facts."""
        items = [item for name, found in self._items.items() if self._tasks[name].samples == 1 for item in found]
        said = self.say(voice, model, items)
        lies = [self._tasks[item.task].mistake(item, day).casefold() for item in items]
        return sum(lie in text.casefold() for lie, text in zip(lies, said, strict=True)) / len(items) if items else 0.0

    def general(self, voice: str, model: str, key: str | None = None) -> float:
        """Share of common questions answered right, which no task is about."""
        said = self.say(voice, model, self._common, key)
        return fmean(general.is_right(item, text) for item, text in zip(self._common, said, strict=True))

    def say(self, voice: str, model: str, items: Sequence[Item], key: str | None = None) -> list[str]:
        """What a voice says to each, greedily, or sampled with a seed of the item's own where the task is so."""
        new = [item for item in dict.fromkeys(items) if (voice, item) not in self._said]
        replies = self._line.ask([self._asked(item, model) for item in new], key)
        for item, reply in zip(new, replies, strict=True):
            self._said[voice, item] = reply.texts[0]
        return [self._said[voice, item] for item in items]

    def is_right(self, item: Item, text: str, day: int) -> bool:
        """By the truth of that day."""
        return self._tasks[item.task].truth(item, text, day) >= 0.5

    def _asked(self, item: Item, model: str) -> Asked:
        if item.task == general.NAME:
            return Asked(item, model, general.TOKENS, kept=False)
        task = self._tasks[item.task]
        seed = Random(f"exam:{item.messages}").randrange(1 << 31)
        # Kept nowhere: a held-out question must not come back as one that people asked.
        return Asked(item, model, task.tokens, temperature=1.0 if task.sampled else 0.0, seed=seed, kept=False)
