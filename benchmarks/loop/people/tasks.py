"""The tasks by name. Another one is a class with `ask`, `react` and `truth` (task.py) and a line here."""

from collections.abc import Sequence

from benchmarks.loop.people.drills import Drills
from benchmarks.loop.people.facts import Facts
from benchmarks.loop.people.reverse import Reverse
from benchmarks.loop.people.style import Style
from benchmarks.loop.people.sums import Sums
from benchmarks.loop.people.task import Task

TASKS: dict[str, type[Facts] | type[Style] | type[Sums] | type[Reverse] | type[Drills]] = {
    task.name: task for task in (Facts, Style, Sums, Reverse, Drills)
}
_QUICK = {"facts": 8, "style": 6, "sums": 24, "reverse": 6, "drills": 24}
_TINY = {"facts": 4, "style": 4, "sums": 3, "reverse": 2, "drills": 24}


def draw_tasks(names: Sequence[str], seed: int, days: int, pace: str) -> list[Task]:
    """`pace`: full, quick or tiny, which is how much is asked in a day."""
    sizes = {"full": {}, "quick": _QUICK, "tiny": _TINY}[pace]
    return [TASKS[name](seed, days, **({"size": sizes[name]} if sizes else {})) for name in names]
