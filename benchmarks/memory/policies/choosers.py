"""Floors that choose whole messages by a fixed order until the budget is full, and full context, which has no budget.

They see the whole past when they choose, rare words counted over all of it: an advantage over who must decide as it
goes. What does not fit is passed over for the next that does. These are the rules the published floors were made by.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random

from benchmarks.memory.message import Count, Held, Message

Order = Callable[[Sequence[Message], Sequence[int]], Iterable[int]]
"""Indices of messages, the dearest first, given them and what each costs."""

JOINING = frozenset(
    """a an the and or but if then so of to in on at for from with by as is are was were be been am i you he she it we
    they me him her us them my your his its our their this that these those do does did have has had not no yes what
    when where who how why which will would can could should just really very much lot like get got hey wow oh thanks
    thank great good nice awesome cool sounds""".split()  # noqa: SIM905
)


class Chooser:
    bounded, outside = True, False

    def __init__(self, order: Order, budget: int, count: Count) -> None:
        self._order, self._budget, self._count = order, budget, count
        self._messages: list[Message] = []
        self._costs: list[int] = []

    async def hear(self, message: Message) -> None:
        self._messages.append(message)
        self._costs.append(self._count(f"{message.line}\n"))

    async def recall(self, question: str = "") -> Sequence[Held]:
        chosen = take(self._order(self._messages, self._costs), self._costs, self._budget)
        return [hold(self._messages, at) for at in chosen]


class Full:
    """Everything that was ever said: what a memory saves is measured against it."""

    bounded, outside = False, False

    def __init__(self) -> None:
        self._messages: list[Message] = []

    async def hear(self, message: Message) -> None:
        self._messages.append(message)

    async def recall(self, question: str = "") -> Sequence[Held]:
        return [hold(self._messages, at) for at in range(len(self._messages))]


def take(order: Iterable[int], costs: Sequence[int], budget: int) -> list[int]:
    """Those that fit, in the order they were said."""
    chosen: list[int] = []
    for at in order:
        if costs[at] <= budget:
            chosen.append(at)
            budget -= costs[at]
    return sorted(chosen)


def hold(messages: Sequence[Message], at: int) -> Held:
    return Held(messages[at].role, messages[at].named, at)


def latest(messages: Sequence[Message], costs: Sequence[int]) -> Iterable[int]:
    return range(len(messages) - 1, -1, -1)


def shuffled(messages: Sequence[Message], costs: Sequence[int]) -> Iterable[int]:
    order = list(range(len(messages)))
    Random(0).shuffle(order)
    return order


def longest(messages: Sequence[Message], costs: Sequence[int]) -> Iterable[int]:
    return sorted(range(len(messages)), key=lambda at: -costs[at])


def salient(messages: Sequence[Message], costs: Sequence[int]) -> Iterable[int]:
    """By rare words, names and numbers."""
    spread = Counter(word for message in messages for word in set(re.findall(r"[a-z']+|\d+", message.line.lower())))
    rarity = {word: math.log(len(messages) / count) for word, count in spread.items()}
    worth = [_salience(message.text, rarity) for message in messages]
    return sorted(range(len(messages)), key=lambda at: -worth[at])


def _salience(text: str, rarity: dict[str, float]) -> float:
    words = [word.lower() for word in re.findall(r"[A-Za-z']+|\d+", text)]
    names = len(re.findall(r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+", text))
    content = sum(rarity.get(word, 0) for word in set(words) if word not in JOINING)
    return content / (len(words) + 4) ** 0.5 + 1.5 * names + 2 * len(re.findall(r"\d+", text)) - text.count("?")
