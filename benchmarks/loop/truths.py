"""Lift and the reward model as the server tells them, held against the truth; null with a reason where it is silent.

Lift is measured over all days since people were held back, so the true one is the mean of the days' (lifts.py).
"""

from statistics import fmean
from typing import Any

from benchmarks.loop.simulation import Simulation
from benchmarks.loop.told import ask, first

Json = dict[str, Any]


def lift_figures(run: Simulation) -> Json:
    """Does the interval of the lift hold the true one?"""
    told, why = ask(run.line, f"/v1/lift/{run.plan.alias}")
    low, high = first(told, "overall.low"), first(told, "overall.high")
    if low is None or high is None:
        missing = {"lift_covers_truth": None, "lift_reason": why or first(told, "why") or "there is no interval"}
        return {"lift": told, "true_lift": None, **missing}
    truth = fmean(row["true_lift"] for row in run.table)
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
