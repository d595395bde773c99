"""Plan: what a model takes on so many cards, which layouts hold it, what a step costs by estimate."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.flows.plans import Drawn
from anubhav.http.console.language import gettext_noop
from anubhav.http.console.page import Page, show
from anubhav.http.entrance import house_of

router = APIRouter(route_class=Page)
Json = dict[str, Any]
_USUAL: Json = {"model": "qwen3-8b", "gpus": 8, "gpu": "h100", "rank": 32, "sequence": 4096, "batch": 64, "layout": ""}
PARTS = ("weights", "adapters", "optimizer", "gradients", "gathered", "activations", "cache")
WORDS = (
    gettext_noop("weights"), gettext_noop("adapters"), gettext_noop("optimizer"), gettext_noop("gradients"),
    gettext_noop("gathered"), gettext_noop("activations"), gettext_noop("cache"),
)  # fmt: skip
_OPTIONS = (
    ("model", "--model"), ("gpus", "--gpus"), ("gpu", "--gpu"), ("rank", "--rank"), ("sequence", "--sequence"),
    ("batch", "--batch"), ("memory", "--gpu-memory"), ("price", "--price"),
)  # fmt: skip


@router.get("/plan")
async def plan(id: Annotated[str | None, Query(max_length=100)] = None, house: House = Depends(house_of)) -> Response:
    drawn = house.plans.find(id) if id else None
    wishes = (
        {**_USUAL, **{name: value for name, value in drawn.wishes.items() if value is not None}} if drawn else _USUAL
    )
    made = _made(drawn.plan) if drawn and drawn.plan else None
    asked = {name: value for name, value in (drawn.wishes if drawn else _USUAL).items() if value not in (None, "")}
    return await show(
        house, "plan.html", "/plan", drawn=drawn, wishes=wishes, made=made, models=house.plans.models,
        cards=house.plans.cards, asked=asked, command=_command(drawn, wishes),
    )  # fmt: skip


def _command(drawn: Drawn | None, wishes: Json) -> str:
    """With the layout that was found, and its files."""
    said = " ".join(f"{option} {wishes[name]}" for name, option in _OPTIONS if wishes.get(name) not in (None, ""))
    if drawn is None or drawn.plan is None:
        return f"anubhav plan {said}"
    return f"anubhav plan {said} --layout {_layout(drawn.plan['best'], ',')} --write FOLDER"


def _made(found: Mapping[str, Any]) -> Json:
    best, hardware = found["best"], found["hardware"]
    usable = hardware["memory"] * hardware["usable"]
    stages = zip(best["arithmetic"]["stages"], found["instantiated"]["stages"], strict=True)
    return {
        "parameters": f"{found['model']['parameters'] / 1e9:,.2f}",
        "active": f"{found['model']['active_parameters'] / 1e9:,.2f}",
        "family": found["model"]["family"],
        "adapter": f"{found['adapter']['parameters'][found['adapter']['experts']] / 1e6:,.1f}",
        "fitting": found["layouts"]["fitting"],
        "tried": found["layouts"]["tried"],
        "best": _option(best),
        "others": [_option(one) for one in found["others"]],
        "usable": _gb(usable),
        "total": _gb(found["instantiated"]["total_bytes"]),
        "traced": found["instantiated"]["traced"] is not None,
        "tokens": f"{best['estimate']['tokens_per_second']:,.0f}",
        "per_million": f"{best['estimate']['cost_per_million_tokens']:.2f}",
        "price": hardware["price"],
        "stages": [_stage(number, *stage) for number, stage in enumerate(stages)],
        "bar": _bar(max(best["arithmetic"]["stages"], key=_sum), usable),
        "collectives": [one | {"gb": _gb(one["bytes"])} for one in best["arithmetic"]["collectives"]],
        "share": f"{found['comparison']['share']:.1%}",
    }


def _option(option: Mapping[str, Any]) -> Json:
    guess = option["estimate"]
    return {
        "layout": _layout(option, " "),
        "gb": _gb(option["arithmetic"]["total_bytes"]),
        "step": f"{guess['step']:.2f}",
        "cost": f"{guess['cost_per_step']:.3f}",
    }


def _layout(option: Mapping[str, Any], between: str) -> str:
    return between.join(f"{axis}={size}" for axis, size in option["layout"].items())


def _stage(number: int, counted: Mapping[str, Any], measured: Mapping[str, Any]) -> Json:
    cells = [
        {"counted": _gb(counted[part]), "measured": _gb(measured[part]) if part in measured else ""} for part in PARTS
    ]
    return {"number": number, "cells": cells}


def _sum(stage: Mapping[str, Any]) -> float:
    return sum(stage[part] for part in PARTS)


def _bar(stage: Mapping[str, Any], usable: float) -> list[Json]:
    """Parts of the fullest rank, in hundredths of what may be filled."""
    parts: list[Json] = []
    at = 0.0
    for number, part in enumerate(PARTS):
        width = 100 * stage[part] / max(usable, _sum(stage))
        parts.append(
            {"name": part, "mark": f"part{number}", "x": f"{at:.2f}", "width": f"{width:.2f}", "gb": _gb(stage[part])}
        )
        at += width
    return parts


def _gb(count: float) -> str:
    return f"{count / 1e9:,.2f}"
