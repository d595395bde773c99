"""Routes of what memory learns: what is worth keeping from what people said of replies, to write shorter from what had
to be shortened; the history of both, and back."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import StringConstraints

from anubhav.flows import memory_lessons
from anubhav.flows.house import House
from anubhav.flows.refilling import teach_refiller
from anubhav.http.anubhav.bodies import Body
from anubhav.http.anubhav.routes import Limit, house_of
from anubhav.http.auth import needs, principal
from anubhav.types.models import Principal

router = APIRouter()
Json = dict[str, Any]


class Back(Body):
    why: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


@router.post("/v1/memories/learn", dependencies=[Depends(needs("sample"))])
async def learn(house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """Of the tenant's own memories. `change.action`: activate, or discard where the candidate is not proved better."""
    return msgspec.to_builtins(await memory_lessons.learn(house, who.tenant, who.tenant))


@router.post("/v1/memories/refiller", dependencies=[Depends(needs("train"))])
async def learn_to_write(house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """From the tenant's own memories; answered once it is trained and examined, which takes minutes. `change` as above:
    a refiller that is not proved better is discarded."""
    return msgspec.to_builtins(await teach_refiller(house, who.tenant, who.tenant))


@router.get("/v1/memory-policies", dependencies=[Depends(needs("read"))])
async def list_policies(
    limit: Limit = 50, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """The one that decides now, and every change, newest first."""
    active = await house.memory_policies.of(who.tenant)
    history = await house.memory_policies.history(who.tenant, limit)
    return {"active": msgspec.to_builtins(active), "data": msgspec.to_builtins(history)}


@router.post("/v1/memory-policies/rollback", dependencies=[Depends(needs("sample"))])
async def rollback(body: Back, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return msgspec.to_builtins(await house.memory_policies.rollback(who.tenant, who.tenant, body.why))
