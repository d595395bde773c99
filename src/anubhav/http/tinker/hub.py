"""A read-only hub mirror: with HF_ENDPOINT at this server, a client gets the served models' tokenizers from it."""

import re

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from anubhav.catalog import mirror
from anubhav.flows.house import House
from anubhav.http.description import tells
from anubhav.types.models import Model

router = APIRouter()
_MISSING = tells("application/json", status=404, why="As the hub's clients read it")
_FILES = tells("application/json", "text/plain", "application/octet-stream") | _MISSING
_SUFFIX = re.compile(r"(?P<name>.+?)/(?P<view>revision|tree)/(?P<rest>.+)")


@router.get("/api/models/{asked:path}", responses=_MISSING)
async def describe(request: Request, asked: str) -> JSONResponse:
    """The listing of a model; its folders (`tree`) are empty, as everything lies at the top."""
    parts = _SUFFIX.fullmatch(asked)
    model = _find(request, parts["name"] if parts else asked)
    if model is None:
        return _missing("RepoNotFound")
    return JSONResponse([] if parts and parts["view"] == "tree" else mirror.listing(model))


@router.head("/{name}/resolve/{revision}/{file:path}", include_in_schema=False)
@router.get("/{name}/resolve/{revision}/{file:path}", response_class=Response, responses=_FILES)
async def resolve_plain(request: Request, name: str, file: str) -> Response:
    return _serve(request, name, file)


@router.head("/{organisation}/{name}/resolve/{revision}/{file:path}", include_in_schema=False)
@router.get("/{organisation}/{name}/resolve/{revision}/{file:path}", response_class=Response, responses=_FILES)
async def resolve(request: Request, organisation: str, name: str, file: str) -> Response:
    return _serve(request, f"{organisation}/{name}", file)


def _serve(request: Request, name: str, file: str) -> Response:
    model = _find(request, name)
    path = mirror.file(model, file) if model else None
    if model is None or path is None:
        return _missing("EntryNotFound" if model else "RepoNotFound")
    return FileResponse(path, headers={"x-repo-commit": mirror.revision(model)})


def _find(request: Request, name: str) -> Model | None:
    house: House = request.app.state.house
    return house.models.get(name)


def _missing(code: str) -> JSONResponse:
    return JSONResponse({"error": f"{code}: this server has no such file"}, 404, {"x-error-code": code})
