"""Home: what answers now, the last day, what waits for a person, how far the first run came; and the pages' files."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from anubhav.errors import NotAuthenticated, NotFound
from anubhav.flows.house import House
from anubhav.flows.overview import Need, overview
from anubhav.http.auth import COOKIE, Keyring
from anubhav.http.console.page import Page, show, sign_in
from anubhav.http.console.templates import HEADERS, KINDS, static
from anubhav.http.console.words import lift_line, turn
from anubhav.http.description import tells
from anubhav.http.entrance import house_of, keyring_of

router = APIRouter(route_class=Page)
files = APIRouter()
_FILES = tells(*KINDS.values()) | tells(status=304, why="As it was")
_SHOWN = 5


@router.get("/", responses=tells(status=303, why="Signed in"))
async def home(
    token: Annotated[str | None, Query()] = None,
    house: House = Depends(house_of),
    keyring: Keyring = Depends(keyring_of),
) -> Response:
    if token is not None:
        return await _enter(keyring, token)
    found, recent = await overview(house), await house.recorder.recent(_SHOWN)
    return await show(
        house, "home.html", "/", found=found, lifts=[lift_line(one) for one in found.lifts],
        needs=[_need(one) for one in found.needs], recent=[turn(*one) for one in recent],
    )  # fmt: skip


@files.head("/", include_in_schema=False)
async def knock() -> Response:
    """Claude Code looks so whether anybody is here. It uses up no sign-in address, as the page itself would."""
    return Response()


@files.get("/static/{name}", response_class=Response, responses=_FILES)
async def file(name: str, request: Request) -> Response:
    found = static(name)
    if found is None:
        raise NotFound("There is no such file", hint="Open the console at /.")
    content, kind, tag = found
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@files.get("/favicon.ico", status_code=308, response_class=Response)
async def favicon() -> Response:
    return RedirectResponse("/static/icon.svg", 308)


async def _enter(keyring: Keyring, token: str) -> Response:
    """Change the address's token, which works once, for a cookie that no script can read."""
    try:
        ticket = keyring.issue_ticket(await keyring.redeem_ticket(token))
    except NotAuthenticated as problem:
        return sign_in(str(problem))
    answer = RedirectResponse("/", 303, HEADERS)
    answer.set_cookie(COOKIE, ticket, max_age=7 * 86400, httponly=True, samesite="strict", path="/")
    return answer


_PLACES = {"candidate": "/releases?alias={}", "refused": "/gates?alias={}", "failed": "/releases?alias={}#laps",
           "paused": "/releases?alias={}#laps",
           "alarm": "/rewards?alias={}#alarms", "unread": "/releases?alias={}#laps"}  # fmt: skip


def _need(one: Need) -> dict[str, Any]:
    return {"what": one.what, "subject": one.subject, "text": one.text, "link": _PLACES[one.what].format(one.subject)}
