"""Routes of the planner: which layouts hold a model on so many cards. A plan takes seconds: ask, then ask for it."""

from typing import Any

import msgspec
from fastapi import APIRouter, Depends

from anubhav.flows.house import House
from anubhav.http.anubhav import bodies
from anubhav.http.anubhav.routes import house_of, operator

router = APIRouter(dependencies=[Depends(operator)])
Json = dict[str, Any]


@router.post("/v1/plans", status_code=202)
async def ask_for_plan(body: bodies.PlanWishes, house: House = Depends(house_of)) -> Json:
    """Begin one; it is made beside the server, one at a time. See docs/plan.md for what is in it."""
    return msgspec.to_builtins(house.plans.ask(body.model_dump()))


@router.get("/v1/plans/{plan}")
async def get_plan(plan: str, house: House = Depends(house_of)) -> Json:
    """`state` says running, done or failed."""
    return msgspec.to_builtins(house.plans.find(plan))
