"""Releases: what answers and to whom, how a candidate compares live, what laps made, and the way back."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.flows.overview import Answering, answering
from anubhav.flows.scheduling import stand
from anubhav.flows.trying import Comparison, compare, measure_lift
from anubhav.http.console.page import Page, show
from anubhav.http.console.words import bar, lap_card, lift_line
from anubhav.http.entrance import house_of
from anubhav.releases.shadows import summarise

router = APIRouter(route_class=Page)
_SHOWN = 25


@router.get("/releases")
async def releases(
    alias: Annotated[str | None, Query(max_length=200)] = None, house: House = Depends(house_of)
) -> Response:
    aliases = await answering(house)
    one = next((found for found in aliases if found.alias == alias), aliases[0])
    standing = await house.register.standing(one.alias)
    return await show(
        house, "releases.html", "/releases", aliases=aliases, one=one, policy=await house.trials.policy(one.alias),
        lift=lift_line(await measure_lift(house, one.alias)), trial=await _trial(house, one),
        learning=await stand(house, one.alias), earlier=standing[:-1][::-1],
        laps=[lap_card(lap) for lap in await house.laps.recent(one.alias, _SHOWN)],
        history=await house.register.history(one.alias, _SHOWN),
    )  # fmt: skip


async def _trial(house: House, one: Answering) -> dict[str, Any] | None:
    if one.trial is None:
        return None
    found, pairs = await compare(house, one.trial), await house.trials.shadows.pairs(one.trial)
    return {"replies": found.candidate.replies, "people": found.people, "told": found.describe(), "bar": _bar(found),
            "rates": found.rates, "shadow": summarise(pairs).describe() if pairs else ""}  # fmt: skip


def _bar(found: Comparison) -> dict[str, Any] | None:
    return bar(found.difference.low, found.difference.high) if found.difference else None
