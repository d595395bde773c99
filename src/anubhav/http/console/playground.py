"""The playground: talk to any model of the house. All it does, its script does over the public endpoints."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.http.auth import principal
from anubhav.http.console.page import Page, show
from anubhav.http.entrance import house_of
from anubhav.types.models import Principal

router = APIRouter(route_class=Page)
Text = Annotated[str, Query(max_length=1000)]


@router.get("/playground")
async def playground(
    checkpoint: Text = "", model: Text = "", house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    """With `checkpoint`, as Tinker's SDK links to it, that one is chosen."""
    tuned = [one.name for one in await house.voices.all_tuned(who.tenant)]
    tried = [f"{alias}@candidate" for alias in await house.trials.tried_now()]
    names = await house.voices.names()
    usual = next((name for name in names if name not in house.models), names[0])
    return await show(
        house, "playground.html", "/playground", models=[*names, *tried, *tuned], chosen=checkpoint or model or usual
    )
