"""Routes for whoever looks after the server: its health, its settings, what tenants spent, and the audit."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query

from anubhav.flows.health import examine
from anubhav.flows.house import House
from anubhav.flows.spending import spent
from anubhav.http.anubhav.bodies import Name
from anubhav.http.anubhav.routes import house_of, operator

router = APIRouter(dependencies=[Depends(operator)])
Json = dict[str, Any]


@router.get("/v1/health")
async def get_health(house: House = Depends(house_of)) -> Json:
    """What `anubhav doctor` would find of this machine now, and whether the engines answer."""
    found = await examine(house)
    return {"ok": not any(one.state == "fail" for one in found), "data": msgspec.to_builtins(found)}


@router.get("/v1/configuration")
async def get_configuration(house: House = Depends(house_of)) -> Json:
    """What the server was started with, and where each setting comes from."""
    return {"data": msgspec.to_builtins(list(house.configuration))}


@router.get("/v1/usage")
async def get_usage(
    tenant: Name = "local", days: Annotated[int, Query(ge=1, le=14)] = 7, house: House = Depends(house_of)
) -> Json:
    """Tokens trained, checkpoints saved and gigabyte-hours kept, by day and base model. Nothing is charged."""
    return {"tenant": tenant, "data": msgspec.to_builtins(await spent(house, tenant, days))}


@router.get("/v1/audit")
async def get_audit(
    tenant: Name | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=1 << 62)] = None,
    house: House = Depends(house_of),
) -> Json:
    """Who did what, newest first; `next`, sent as `before`, gives what is older."""
    found = await house.desk.accounts.log(tenant, before, limit)
    return {"data": msgspec.to_builtins(found), "next": found[-1].seq if len(found) == limit else None}
