"""What an operator's other tools fetch: the figures that Prometheus reads, and a copy of the data folder.

The figures name no tenant, so any key with the scope read may see them; the copy is the operator's.
"""

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from anubhav.flows.house import House
from anubhav.flows.measuring import measure
from anubhav.http.anubhav.routes import operator
from anubhav.http.auth import needs
from anubhav.http.description import tells
from anubhav.telemetry.metrics import CONTENT_TYPE, expose

router = APIRouter()


async def house_of(request: Request) -> House:
    return request.app.state.house


@router.get(
    "/metrics", response_class=Response, responses=tells("text/plain"), dependencies=[Depends(needs("read", "admin"))]
)
async def metrics(house: House = Depends(house_of)) -> Response:
    return Response(expose(await measure(house)), media_type=CONTENT_TYPE)


@router.get(
    "/v1/backup",
    response_class=StreamingResponse,
    responses=tells("application/x-tar"),
    dependencies=[Depends(operator)],
)
async def backup(house: House = Depends(house_of)) -> StreamingResponse:
    """A tar archive of the data folder as it is now, models apart."""
    return StreamingResponse(house.vault.pack(), media_type="application/x-tar")
