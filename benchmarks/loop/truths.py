"""Lift and the reward model as the server tells them, held against the truth; null with a reason where it is silent.

The true lift is that of the questions people ask, in the unit of lift: the reward, -1 to 1, that an honest person's
reaction is worth. The base and the alias answer the same fresh questions, and nothing of it is kept by the server.
"""

from random import Random
from statistics import fmean
from typing import Any

from benchmarks.loop.line import Asked
from benchmarks.loop.people.task import Reaction
from benchmarks.loop.simulation import Simulation
from benchmarks.loop.told import ask, first

Json = dict[str, Any]


def lift_figures(run: Simulation) -> Json:
    """Does the interval of the lift hold the true one?"""
    told, why = ask(run.line, f"/v1/lift/{run.plan.alias}")
    low, high = first(told, "low", "lift.low", "reward.low"), first(told, "high", "lift.high", "reward.high")
    if low is None or high is None:
        missing = {"lift_covers_truth": None, "lift_reason": why or "there is no interval yet"}
        return {"lift": told, "true_lift": None, **missing}
    truth = true_lift(run)
    return {"lift": told, "true_lift": truth, "lift_covers_truth": low <= truth <= high, "lift_reason": ""}


def reward_figures(run: Simulation) -> Json:
    """The server's own figures, of votes that it predicted before it learned from them."""
    told, why = ask(run.line, f"/v1/rewards/{run.plan.alias}")
    accuracy, ece = first(told, "figures.reliable_accuracy", "figures.accuracy"), first(told, "figures.ece")
    reason = why or ("" if accuracy is not None else "the reward model was not yet judged by anybody it believes")
    return {
        "reward_accuracy": accuracy,
        "ece": ece,
        "reward_alarms": [one["name"] for one in (told or {}).get("alarms", [])],
        "rewards": (told or {}).get("figures"),
        "reward_reason": reason,
    }


def true_lift(run: Simulation) -> float:
    """The alias's mean reward on a day's fresh questions, less the base's."""
    alias = _mean_reward(run, f"{run.plan.alias}@stable")
    return alias - _mean_reward(run, run.line.base_model())


def _mean_reward(run: Simulation, model: str) -> float:
    day, found = run.plan.laps, list[float]()
    for task in run.town.tasks:
        chance = Random(f"lift:{run.plan.seed}:{task.name}")
        items = [task.ask(day, chance) for _ in range(task.a_day)]
        asked = [
            Asked(item, model, task.tokens, task.samples, task.temperature, place, kept=False)
            for place, item in enumerate(items)
        ]
        for item, reply in zip(items, run.line.ask(asked), strict=True):
            found.append(reward(task.react(item, reply.texts, day)))
    return fmean(found)


def reward(reactions: list[Reaction]) -> float:
    """What an honest person's reactions to one question are worth, in the mean; a comparison is worth nothing."""
    worth = [
        -1.0 if one.kind == "correction" else 2.0 * (one.value or 0.0) - 1.0
        for one in reactions
        if one.kind != "comparison"
    ]
    return fmean(worth) if worth else 0.0
