"""The address that Prometheus reads. Its figures name no tenant, so any key with the scope read may see them."""

from fastapi import APIRouter, Depends, Request, Response

from anubhav.flows.house import House
from anubhav.flows.measuring import measure
from anubhav.http.auth import needs
from anubhav.http.description import tells
from anubhav.telemetry.metrics import CONTENT_TYPE, expose

router = APIRouter()
_MAY = [Depends(needs("read", "admin"))]


async def house_of(request: Request) -> House:
    return request.app.state.house


@router.get("/metrics", response_class=Response, responses=tells("text/plain"), dependencies=_MAY)
async def metrics(house: House = Depends(house_of)) -> Response:
    return Response(expose(await measure(house)), media_type=CONTENT_TYPE)
