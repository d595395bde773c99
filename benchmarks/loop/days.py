"""A simulated day: people ask the alias, read what it says, and react; hostile ones make up their share of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from benchmarks.loop.line import Asked, Line
from benchmarks.loop.people.attacks import Chat, ask_in_bad_faith, react_in_bad_faith
from benchmarks.loop.people.raters import Rater, honestly
from benchmarks.loop.people.task import Reaction, Task
from benchmarks.loop.records import Record

_CHATS_AHEAD = 4
"""Hostile chats asked in a batch, until their share of the feedback is reached."""


@dataclass(frozen=True)
class Town:
    """Who lives here and what they want; everything is drawn from the seed."""

    seed: int
    tasks: Sequence[Task]
    raters: Sequence[Rater]
    noise: float
    hostile: float
    """Share of the feedback, of each task, that hostile raters give."""

    @property
    def neighbours(self) -> list[Rater]:
        return [rater for rater in self.raters if rater.kind != "hostile"]

    @property
    def enemies(self) -> list[Rater]:
        return [rater for rater in self.raters if rater.kind == "hostile"]


def live(line: Line, town: Town, alias: str, day: int) -> list[Record]:
    """One day's chats and what was said of them, given to the server; in the order in which it was given."""
    records: list[Record] = []
    chances = {task.name: Random(f"day:{town.seed}:{task.name}:{day}") for task in town.tasks}
    asked = [_ask(task, town, day, chances[task.name]) for task in town.tasks]
    # All tasks at once, as a server is asked: a burst of each would leave it nearly idle at its end.
    for task, honest in zip(town.tasks, _talk(line, town, alias, day, asked), strict=True):
        chance = chances[task.name]
        wanted = round(town.hostile / (1 - town.hostile) * count(honest)) if town.enemies else 0
        hostile = _attack(line, town, alias, day, task, wanted)
        mixed = [*honest, *hostile]
        chance.shuffle(mixed)
        records += mixed
    line.judge([one for record in records for one in record.feedback()])
    return records


def _ask(task: Task, town: Town, day: int, chance: Random) -> list[Chat]:
    return [Chat(chance.choice(town.neighbours), task, task.ask(day, chance)) for _ in range(task.a_day)]


def count(records: Sequence[Record]) -> int:
    return sum(len(record.reactions) for record in records)


def by_kind(records: Sequence[Record], town: Town) -> Counter[str]:
    """Feedback counted by the kind of rater; who is no resident is a hostile rater's other name."""
    kinds = {rater.user: rater.kind for rater in town.raters}
    counted: Counter[str] = Counter()
    for record in records:
        counted[kinds.get(record.user, "hostile")] += len(record.reactions)
    return counted


def _attack(line: Line, town: Town, alias: str, day: int, task: Task, wanted: int) -> list[Record]:
    """Hostile chats until there are as many reactions as wanted; the last one's are cut to fit."""
    found: list[Record] = []
    numbers = _turns(town.enemies)
    while (missing := wanted - count(found)) > 0:
        chats: list[Chat] = []
        for rater, number in (next(numbers) for _ in range(min(missing, _CHATS_AHEAD * len(town.enemies)))):
            chats.append(ask_in_bad_faith(rater, task, town.seed, day, number))
        for record in next(_talk(line, town, alias, day, [chats])):
            room = wanted - count(found)
            if room > 0:
                kept = record.reactions[:room]
                found.append(Record(day, record.user, record.item, record.reply, record.texts, kept))
    return found


def _turns(raters: Sequence[Rater]) -> Iterator[tuple[Rater, int]]:
    number = 0
    while True:
        for rater in raters:
            yield rater, number
        number += 1


def _talk(line: Line, town: Town, alias: str, day: int, groups: Sequence[Sequence[Chat]]) -> Iterator[list[Record]]:
    """All at once; the records group by group."""
    asked = [[_asked(town, alias, day, place, chat) for place, chat in enumerate(chats)] for chats in groups]
    replies = iter(line.ask([one for each in asked for one in each]))
    for chats, each in zip(groups, asked, strict=True):
        said = zip(chats, islice(replies, len(chats)), each, strict=True)
        yield [
            Record(
                day, chat.rater.user, chat.item, reply.id, reply.texts, tuple(_react(town, chat, reply.texts, day, one))
            )
            for chat, reply, one in said
        ]


def _asked(town: Town, alias: str, day: int, place: int, chat: Chat) -> Asked:
    task, user = chat.task, chat.rater.user
    seed = _number(town.seed, day, place, user)
    return Asked(chat.item, alias, task.tokens, task.samples, task.temperature, seed, user, f"{user}-day-{day}")


def _react(town: Town, chat: Chat, texts: Sequence[str], day: int, asked: Asked) -> list[Reaction]:
    if chat.rater.kind == "hostile":
        return react_in_bad_faith(chat, texts, day)
    chance = Random(f"react:{asked.seed}")
    return honestly(chat.rater, chat.task, (chat.item, texts), day, town.noise, chance)


def _number(*parts: object) -> int:
    return Random(":".join(map(str, parts))).randrange(1 << 31)
