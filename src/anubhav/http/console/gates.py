"""Evals and gates: of each lap what was measured, the verdict and why, and what the two voices said."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.errors import NotFound
from anubhav.flows.house import House
from anubhav.flows.verdicts import look_up
from anubhav.http.auth import principal
from anubhav.http.console.page import Page, chosen, show
from anubhav.http.console.words import lap_card
from anubhav.http.entrance import house_of
from anubhav.types.experience import Lap
from anubhav.types.models import Principal

router = APIRouter(route_class=Page)
Json = dict[str, Any]
Name = Annotated[str | None, Query(max_length=200)]
_SHOWN = 20


@router.get("/gates")
async def gates(alias: Name = None, before: Name = None, house: House = Depends(house_of)) -> Response:
    names, name = await chosen(house, alias)
    laps = await house.laps.recent(name, _SHOWN, before)
    older = laps[-1].id if len(laps) == _SHOWN else None
    return await show(
        house, "gates.html", "/gates", aliases=names, alias=name, laps=[lap_card(one) for one in laps], before=before,
        older=older,
    )  # fmt: skip


@router.get("/gates/{lap}")
async def gate(lap: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Response:
    """The examples hold what is sealed, so they are for keys that may judge."""
    found, _ = await house.laps.find(lap)
    judges = "judge" in who.scopes
    try:
        told = await look_up(house, lap)
    except NotFound:
        told = None
    return await show(
        house, "gate.html", "/gates", one=lap_card(found), facts=_facts(found), judges=judges,
        notes=told.verdict.notes if told else (), level=told and f"{told.verdict.level:.2g}",
        examples=[_example(one) for one in told.examples] if told and judges else [],
    )  # fmt: skip


def _facts(lap: Lap) -> list[tuple[str, str]]:
    """What the lap told of itself in plain numbers."""
    return [
        (name.replace("_", " "), f"{value:g}")
        for name, value in lap.report.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _example(one: Mapping[str, Any]) -> Json:
    better = one["candidate"] > one["incumbent"]
    return {
        **one,
        "sign": "up" if better else "down",
        "word": "better" if better else "worse",
        "before": f"{one['incumbent']:.2f}",
        "after": f"{one['candidate']:.2f}",
    }
