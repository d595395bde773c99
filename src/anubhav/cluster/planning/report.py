"""The plan as plain values: for JSON, and for whatever prints it."""

from dataclasses import asdict
from typing import Any

from anubhav.cluster.planning.plan import Plan
from anubhav.cluster.planning.search import Option


def describe(plan: Plan) -> dict[str, Any]:
    """Bytes and seconds; what is exact, what is instantiated, what is arithmetic and what is an estimate, by name."""
    question, best = plan.question, plan.best
    traced = plan.instantiated.traced
    return {
        "model": {
            "name": question.model,
            "family": plan.family,
            "parameters": plan.parameters,
            "router_biases": plan.router_biases,
            "active_parameters": plan.active,
        },
        "adapter": {**asdict(question.adapter), "parameters": dict(plan.adapters)},
        "load": asdict(question.load),
        "hardware": {**asdict(question.hardware), "gpus": question.gpus},
        "best": _option(best),
        "others": [_option(one) for one in plan.others],
        "layouts": {"tried": plan.tried, "fitting": plan.fitting},
        "instantiated": {
            "stages": [asdict(stage) for stage in plan.instantiated.stages],
            "traced": None if traced is None else asdict(traced),
            "total_bytes": plan.total,
        },
        "comparison": {**asdict(plan.comparison), "share": plan.comparison.share},
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "layout": asdict(option.layout),
        "arithmetic": {
            "stages": [asdict(stage) for stage in option.stages],
            "total_bytes": option.fullest.total,
            "collectives": [asdict(one) for one in option.traffic],
        },
        "estimate": asdict(option.estimate),
    }
