"""What voices answered to probes, remembered: answers are greedy, so asking again costs time and tells nothing.

The incumbent of a lap was the candidate of an earlier one, or the incumbent then too.
"""

from collections import OrderedDict
from collections.abc import Iterable

from anubhav.types.experience import Probe
from anubhav.types.ids import AdapterId

Answer = tuple[float, str]
"""Score and words."""
Asked = tuple[str, AdapterId | None, Probe]
"""Base model, adapter (none is the base itself), probe."""
_KEPT = 10_000


class Heard:
    def __init__(self) -> None:
        self._answers: OrderedDict[Asked, Answer] = OrderedDict()

    def find(self, asked: Asked) -> Answer | None:
        if asked in self._answers:
            self._answers.move_to_end(asked)
        return self._answers.get(asked)

    def forget(self, episodes: Iterable[str]) -> None:
        """Answers to probes that were made of these episodes (`<episode>:…`)."""
        names = frozenset(episodes)
        for asked in [one for one in self._answers if one[2].id.partition(":")[0] in names]:
            del self._answers[asked]

    def keep(self, asked: Asked, answer: Answer) -> None:
        self._answers[asked] = answer
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
