"""From the wishes of a command or a page to a plan and its files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anubhav.cluster.layout import parse_layout
from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.hardware import GB, Hardware, find_hardware
from anubhav.cluster.planning.memory import Load
from anubhav.cluster.planning.plan import Question, plan
from anubhav.cluster.planning.report import describe
from anubhav.cluster.planning.writing import write_plan
from anubhav.errors import BadInput

_UNITS = {
    "memory": GB,
    "flops": 10**12,
    "bandwidth": GB,
    "link": GB,
    "network": GB,
    "price": 1,
    "node": 1,
    "usable": 1,
    "efficiency": 1,
}
"""Of the figures of the hardware that can be set: GB, TFLOP/s, GB/s."""


def answer(wishes: Mapping[str, Any], to: Path | None) -> dict[str, Any]:
    """The plan as plain values, and its files in the folder `to`. `wishes` has Question's parts by their names."""
    question = Question(
        model=wishes["model"],
        gpus=wishes["gpus"],
        adapter=Adapter(wishes["rank"], wishes["experts"], wishes["targets"]),
        load=Load(wishes["sequence"], wishes["batch"], wishes["cached"]),
        hardware=_hardware(wishes),
        layout=parse_layout(wishes["layout"]) if wishes["layout"] else None,
    )
    made = plan(question)
    if to is not None:
        write_plan(made, to)
    return describe(made)


def _hardware(wishes: Mapping[str, Any]) -> Hardware:
    figures: dict[str, Any] = {
        name: wishes[name] * unit for name, unit in _UNITS.items() if wishes.get(name) is not None
    }
    for name, value in figures.items():
        if value <= 0:
            raise BadInput(f"The hardware's {name} is {value}", hint="It is more than 0.")
    if "memory" in figures:
        figures["memory"] = int(figures["memory"])
    if figures.get("usable", 0.5) > 1:
        raise BadInput(f"--usable is {figures['usable']}", hint="It is a share of the memory, 0.85 for example.")
    return replace(find_hardware(wishes["gpu"]), **figures)
