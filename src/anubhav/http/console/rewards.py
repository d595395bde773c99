"""The reward model: whether its chances come true, how often it is right, what it leans on, and where it was wrong."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.flows.judgements import mistakes
from anubhav.http.console.page import Page, chosen, show
from anubhav.http.console.words import bar, cut, judgement
from anubhav.http.entrance import house_of
from anubhav.rewards.covariates import NAMES
from anubhav.rewards.curves import Bin, Stretch

router = APIRouter(route_class=Page)
Json = dict[str, Any]


@router.get("/rewards")
async def rewards(
    alias: Annotated[str | None, Query(max_length=200)] = None, house: House = Depends(house_of)
) -> Response:
    names, name = await chosen(house, alias)
    report, _ = await house.watch.glance(name)
    told, ringing = report.figures, {one.name for one in report.alarms}
    wrong = await mistakes(house, name, report.curves.worst)
    return await show(
        house, "rewards.html", "/rewards", aliases=names, alias=name, report=report, figures=told,
        bins=[_bin(one) for one in report.curves.calibration], stretches=_course(report.curves.accuracy),
        reliable=report.curves.reliable, leanings=[_leaning(one, told, ringing) for one in NAMES],
        wrong=[{**judgement(one.feedback), "chance": f"{100 * chance:.0f} %", "asked": cut(one.asked),
                "answer": cut(one.answer), "episode": one.feedback.episode} for chance, one in wrong],
    )  # fmt: skip


def _bin(one: Bin) -> Json:
    """A point in a square of 100 whose y goes down."""
    return {
        "x": f"{100 * one.predicted:.1f}",
        "y": f"{100 - 100 * one.came:.1f}",
        "top": f"{100 - 100 * one.high:.1f}",
        "bottom": f"{100 - 100 * one.low:.1f}",
        "predicted": f"{100 * one.predicted:.0f} %",
        "came": f"{100 * one.came:.0f} %",
        "interval": f"{100 * one.low:.0f} … {100 * one.high:.0f} %",
        "n": one.n,
    }


def _course(found: Sequence[Stretch]) -> list[Json]:
    """Points in a field 200 wide and 100 high, the newest at the right."""
    step = 200 / max(len(found) - 1, 1)
    return [
        {
            "x": f"{place * step:.1f}",
            "y": f"{100 - 100 * one.accuracy:.1f}",
            "top": f"{100 - 100 * one.high:.1f}",
            "bottom": f"{100 - 100 * one.low:.1f}",
            "back": one.back,
            "to": one.back - one.n,
            "accuracy": f"{100 * one.accuracy:.0f} %",
            "interval": f"{100 * one.low:.0f} … {100 * one.high:.0f} %",
        }
        for place, one in enumerate(found)
    ]


def _leaning(name: str, figures: Mapping[str, float], ringing: set[str]) -> Json:
    """How the scores and how people's votes go with a covariate, and how far fresh answers moved in it."""
    scores, people = figures.get(f"score_{name}"), figures.get(f"people_{name}")
    return {
        "name": name,
        "scores": _point(scores),
        "people": _point(people),
        "moved": figures.get(f"moved_{name}"),
        "rings": [one for one in (f"leans:{name}", f"bought:{name}") if one in ringing],
    }


def _point(value: float | None) -> Json | None:
    if value is None:
        return None
    return {"text": f"{value:+.2f}", "bar": bar(min(0.0, value), max(0.0, value))}
