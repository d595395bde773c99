"""Review: answers worth a judgement, one after the other, by keyboard."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.flows.picking import pick
from anubhav.http.auth import principal
from anubhav.http.console.page import Page, show
from anubhav.http.entrance import house_of
from anubhav.types.models import Principal

router = APIRouter(route_class=Page)
_AT_ONCE = 20
RATER = "console"


@router.get("/review")
async def review(
    alias: Annotated[str, Query(max_length=200)] = "default",
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Response:
    picked = await pick(house, who.tenant, alias, RATER, _AT_ONCE)
    aliases = [name for name in await house.voices.names() if name not in house.models]
    return await show(house, "review.html", "/review", picked=picked, alias=alias, aliases=aliases, rater=RATER)
