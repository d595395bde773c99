"""Promises over Tinker's wire: held until they are kept (pushed, not polled for) or half a minute has passed."""

from fastapi import APIRouter, Depends, Request, Response

from anubhav.flows.house import House
from anubhav.http.auth import principal
from anubhav.http.tinker import answers, bodies
from anubhav.http.tinker.proto import CONTENT_TYPE
from anubhav.http.tinker.training import house_of
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1")
_HOLD = 30.0
"""Seconds. The SDK gives up a poll after 45."""


@router.post("/retrieve_future")
async def retrieve_future(
    body: bodies.RetrieveFuture, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    """An unknown training promise is NotFound, a lost sampling promise Gone: the SDK then samples anew."""
    protobuf = CONTENT_TYPE in request.headers.get("accept", "")
    if body.request_id.startswith("sp_"):
        sampled = await house.sampling.wait(who.tenant, body.request_id, _HOLD)
        return answers.pending(body.request_id) if sampled is None else answers.samples(sampled, protobuf=protobuf)
    outcome = await house.desk.promises.wait(who.tenant, body.request_id, _HOLD)
    return answers.pending(body.request_id) if outcome is None else answers.training(outcome, protobuf=protobuf)


@router.post("/cancel_future")
async def cancel_future(
    body: bodies.RetrieveFuture, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    """Frees a sample's slot; operations of a run cannot be taken back."""
    if body.request_id.startswith("sp_"):
        await house.sampling.cancel(who.tenant, body.request_id)
    return Response(status_code=204)
