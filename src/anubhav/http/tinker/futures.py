"""Promises over Tinker's wire: held until they are kept (pushed, not polled for) or half a minute has passed."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from anubhav.errors import Unavailable
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.tinker import answers, bodies
from anubhav.http.tinker.proto import CONTENT_TYPE
from anubhav.http.tinker.training import house_of
from anubhav.serving.sessions import Waiting
from anubhav.training.standing import Standing
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1", dependencies=[Depends(needs("train", "sample"))])
_HOLD = 30.0
"""Seconds. The SDK gives up a poll after 45."""
_NOT_YET = tells("application/json", status=408, why="Not yet: ask again")
_BREATH = 1.0
"""Seconds. On a 503 the SDK would ask again at once, and again."""


@router.post("/retrieve_future", responses=tells("application/json", CONTENT_TYPE) | _NOT_YET)
async def retrieve_future(
    body: bodies.RetrieveFuture, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    """An unknown training promise is NotFound, a lost sampling promise Gone: the SDK then samples anew."""
    protobuf = CONTENT_TYPE in request.headers.get("accept", "")
    if body.request_id.startswith("sp_"):
        sampled = await house.sampling.wait(who.tenant, body.request_id, _HOLD)
        if isinstance(sampled, Waiting):
            return answers.pending(body.request_id, sampled)
        return answers.samples(sampled, protobuf=protobuf)
    if ":loss:" in body.request_id:
        await house.desk.losses.find(who.tenant, body.request_id)
        return JSONResponse({"type": "create_custom_loss", "loss_id": body.request_id})
    try:
        outcome = await house.desk.promises.wait(who.tenant, body.request_id, _HOLD)
        if outcome is not None:
            return answers.training(outcome, protobuf=protobuf)
        standing = await house.desk.standing(who.tenant, body.request_id)
    except Unavailable as problem:
        await asyncio.sleep(_BREATH)
        standing = Standing(begun=False, hitch=str(problem))
    return answers.pending(body.request_id, standing)


@router.post("/retrieve_futures")
async def retrieve_futures(
    body: bodies.RetrieveFutures, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """Which samples of one sampling client are ready; each is then fetched by itself, failures too."""
    target = (body.target.sampling_session_id, body.target.cloned_sampler_id)
    hold = _HOLD if body.timeout is None else min(body.timeout, _HOLD)
    ready, cursor = await house.sampling.ready(who.tenant, target, body.prev_cursor, body.retrieved_request_ids, hold)
    told = [{"state": "failed" if one.failed else "finished", "request_id": one.promise} for one in ready]
    return {"completions": told, "cursor": cursor}


@router.post("/cancel_future", status_code=204)
async def cancel_future(
    body: bodies.RetrieveFuture, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    """Frees a sample's slot; operations of a run cannot be taken back."""
    if body.request_id.startswith("sp_"):
        await house.sampling.cancel(who.tenant, body.request_id)
    return Response(status_code=204)
