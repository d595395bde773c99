"""Sessions and replies: what was said, what people thought of it, what it was learned from and what came of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.errors import NotFound
from anubhav.flows.house import House
from anubhav.http.auth import principal
from anubhav.http.console.page import Page, show
from anubhav.http.console.words import turn
from anubhav.http.entrance import house_of
from anubhav.types.models import Principal
from anubhav.types.people import Edge, Trace

router = APIRouter(route_class=Page)
Before = Annotated[int | None, Query(ge=1)]
_SHOWN = 25
_EDGES = 60


@router.get("/sessions")
async def list_sessions(before: Before = None, house: House = Depends(house_of)) -> Response:
    found = await house.conversations.page(None, before, _SHOWN)
    older = found[-1].seq if len(found) == _SHOWN else None
    return await show(house, "sessions.html", "/sessions", found=found, older=older, before=before)


@router.get("/sessions/{session:path}")
async def session(
    session: str,
    tenant: Annotated[str | None, Query(max_length=200)] = None,
    after: Annotated[int, Query(ge=0)] = 0,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Response:
    """A conversation; or one of Tinker's sessions, as its SDK links to it."""
    owner = tenant or who.tenant
    try:
        found = await house.conversations.turns(owner, session, after, _SHOWN)
    except NotFound:
        return await _training(house, owner, session)
    newer = found[-1][0].seq if len(found) == _SHOWN else None
    turns = [turn(*one) for one in found]
    user = next((one["user"] for one in turns if one["user"]), None)
    return await show(
        house, "session.html", "/sessions", session=session, tenant=owner, turns=turns, newer=newer, after=after,
        user=user,
    )  # fmt: skip


@router.get("/episodes/{episode}")
async def episode(episode: str, house: House = Depends(house_of)) -> Response:
    found = await house.conversations.turn(None, episode)
    trace = await house.lineage.trace(episode)
    return await show(
        house, "episode.html", "/sessions", one=turn(*found), back=_edges(trace, trace.back),
        onward=_edges(trace, trace.onward), cut=trace.cut or max(len(trace.back), len(trace.onward)) > _EDGES,
    )  # fmt: skip


async def _training(house: House, tenant: str, session: str) -> Response:
    found = await house.desk.sessions.find(tenant, session)
    runs, samplers = await house.desk.sessions.parts(tenant, session)
    return await show(
        house, "training_session.html", "/sessions", session=found, runs=runs, samplers=samplers, tenant=tenant
    )


def _edges(trace: Trace, edges: tuple[Edge, ...]) -> list[dict[str, Any]]:
    kinds = {node.id: node.kind for node in trace.nodes}
    return [
        {"source": _linked(one.source, kinds), "what": one.what, "id": _linked(one.to, kinds)} for one in edges[:_EDGES]
    ]


def _linked(name: str, kinds: dict[str, str]) -> dict[str, str]:
    """A node with the page that shows it, if there is one."""
    kind = kinds.get(name, "")
    place = {"reply": f"/episodes/{name}", "lap": f"/gates/{name}", "release": "/releases#history"}.get(kind, "")
    if kind == "memory":
        place = f"/memory?id={name.partition('@')[0]}"
    return {"id": name, "kind": kind, "link": place}
