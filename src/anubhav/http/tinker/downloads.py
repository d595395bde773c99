"""Downloads over Tinker's wire: signed addresses of external weights' files, of archives for older SDKs, of traces.
Whoever fetches one sends no key, so the address itself is what allows it, for an hour.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from anubhav.errors import BadInput, NotFound
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.tinker.training import house_of
from anubhav.training.export import tar_gz
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1")
_SECONDS = 3600.0
_FILES = tells("application/octet-stream", "application/gzip", "application/json")
_PATH = "/training_runs/{run}/checkpoints/{kind}/{name}"


@router.get(f"{_PATH}/external_weights_urls", dependencies=[Depends(needs("read", "train"))])
async def external_weights_urls(
    run: str,
    kind: str,
    name: str,
    request: Request,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    found = await house.desk.checkpoints.find(who.tenant, f"tinker://{run}/{kind}/{name}")
    if found.path.kind != "external_weights":
        raise BadInput(f"{found.path} is not external weights", hint="Save it with save_weights_external first.")
    _, names = await house.desk.checkpoints.files(found)
    ticket, until = house.links.sign("file", str(found.path), found.folder, seconds=_SECONDS)
    urls = {file: signed_url(request, ticket, file) for file in names}
    return {"urls": urls, "expires": datetime.fromtimestamp(until, UTC).isoformat()}


@router.get(
    f"{_PATH}/archive", status_code=302, response_class=Response, dependencies=[Depends(needs("read", "train"))]
)
async def archive(
    run: str,
    kind: str,
    name: str,
    request: Request,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Response:
    """Of SDKs before 0.31."""
    found = await house.desk.checkpoints.find(who.tenant, f"tinker://{run}/{kind}/{name}")
    await house.desk.checkpoints.files(found)
    ticket, until = house.links.sign("archive", str(found.path), found.folder, seconds=_SECONDS)
    expires = format_datetime(datetime.fromtimestamp(until, UTC), usegmt=True)
    return RedirectResponse(signed_url(request, ticket, f"{name}.tar.gz"), 302, {"Expires": expires})


@router.head("/signed/{ticket}/{file}", include_in_schema=False)
@router.get("/signed/{ticket}/{file}", response_class=Response, responses=_FILES)
async def signed(ticket: str, file: str, house: House = Depends(house_of)) -> Response:
    kind, *subject = house.links.check(ticket)
    if kind == "trace":
        return JSONResponse(await house.desk.sessions.trace(subject[0], subject[1]))
    folder, names = await house.desk.checkpoints.linked(subject[0], subject[1])
    if kind == "archive":
        return StreamingResponse(tar_gz(folder, names), media_type="application/gzip")
    if file not in names:
        raise NotFound(f"There is no file {file[:200]}", hint="Ask for the addresses again.")
    return FileResponse(folder / file, media_type="application/octet-stream")


def signed_url(request: Request, ticket: str, file: str) -> str:
    """Beside the address that was asked for, so with whatever prefix its base URL has."""
    before = request.scope["raw_path"].decode("ascii", "replace").partition("/api/v1/")[0]
    return f"{request.url.scheme}://{request.url.netloc}{before}/api/v1/signed/{ticket}/{file}"
