"""The true lift of a day: what people's reactions to the alias would be worth above those to the base, had both voices
answered the same fresh questions of everybody. In the unit of lift: a reward of -1 to 1.

The people react as they do: the lazy ones click and some err. Nothing of it is kept by the server.
"""

from random import Random
from statistics import fmean

from benchmarks.loop.days import Town
from benchmarks.loop.line import Asked, Line
from benchmarks.loop.people.raters import Rater, honestly
from benchmarks.loop.people.task import Item, Reaction, Task

_ROUNDS = 2
"""A day's questions so many times."""


def true_lift(line: Line, town: Town, alias: str, day: int) -> float:
    """Of what `alias` speaks with now."""
    return _mean_reward(line, town, f"{alias}@stable", day) - _mean_reward(line, town, line.base_model(), day)


def reward(reactions: list[Reaction]) -> float | None:
    """What reactions to one question are worth, in the mean; a comparison tells nothing of the voice."""
    worth = [
        -1.0 if one.kind == "correction" else 2.0 * (one.value or 0.0) - 1.0
        for one in reactions
        if one.kind != "comparison"
    ]
    return fmean(worth) if worth else None


def _mean_reward(line: Line, town: Town, model: str, day: int) -> float:
    found: list[float] = []
    for task in town.tasks:
        chance = Random(f"lift:{town.seed}:{task.name}:{day}")
        chats = [(chance.choice(town.neighbours), task.ask(day, chance)) for _ in range(_ROUNDS * task.a_day)]
        found += _rewards(line, town, task, chats, model, day)
    return fmean(found) if found else 0.0


def _rewards(line: Line, town: Town, task: Task, chats: list[tuple[Rater, Item]], model: str, day: int) -> list[float]:
    """Chance falls the same for every voice, so that only the replies differ."""
    asked = [
        Asked(item, model, task.tokens, task.samples, task.temperature, place, kept=False)
        for place, (_, item) in enumerate(chats)
    ]
    told = [
        reward(honestly(rater, task, (item, reply.texts), day, town.noise, Random(f"lift:{town.seed}:{place}")))
        for place, ((rater, item), reply) in enumerate(zip(chats, line.ask(asked), strict=True))
    ]
    return [one for one in told if one is not None]
