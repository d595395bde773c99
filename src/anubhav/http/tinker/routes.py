"""All of Tinker's addresses; what this build does not have yet says so."""

from fastapi import APIRouter, Request

from anubhav.errors import NotFound
from anubhav.http.tinker import (
    accounts,
    auth,
    downloads,
    futures,
    hub,
    losses,
    mint,
    records,
    sampling,
    service,
    sessions,
    training,
    uploads,
)

router = APIRouter()
_PARTS = (service, training, losses, sampling, futures, records, sessions, downloads, uploads, mint, accounts, auth)
for _part in _PARTS:
    router.include_router(_part.router)
hub_router = hub.router


@router.api_route("/api/v1/{rest:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"], include_in_schema=False)
async def unknown(request: Request, rest: str) -> None:
    raise NotFound(
        f"This build does not have {request.method} /api/v1/{rest[:200]} yet",
        hint="GET /api/v1/get_server_capabilities says what is served; the README lists what is covered.",
    )
