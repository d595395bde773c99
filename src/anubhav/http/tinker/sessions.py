"""Sessions over Tinker's wire, to look at: listed, searched, moved into projects, exported as a trace."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Query, Request, Response

from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.tinker import bodies
from anubhav.http.tinker.downloads import signed_url
from anubhav.http.tinker.training import house_of
from anubhav.training.sessions import SessionInfo, Wanted
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1/sessions", dependencies=[Depends(needs("read", "train"))])
_NO_PROJECT = "default"


@router.get("")
async def list_sessions(
    limit: int = Query(default=20, ge=0, le=1000),
    offset: int = Query(default=0, ge=0),
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    return {"sessions": (await house.desk.sessions.ids(who.tenant))[offset : offset + limit]}


@router.post("/search")
async def search_sessions(
    body: bodies.SearchSessions, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    if body.owner.type == "user" and who.tenant not in body.owner.owner_urns:
        return {"sessions": []}
    found, more = await house.desk.sessions.search(who.tenant, _wanted(body), body.limit)
    answer: dict[str, Any] = {"sessions": [_summary(one) for one in found]}
    if more:
        answer["next_cursor"] = {"last_created_at": _time(found[-1].created_at), "last_session_id": found[-1].id}
    return answer


@router.get("/{session}")
async def get_session(
    session: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    found = await house.desk.sessions.find(who.tenant, session)
    runs, samplers = await house.desk.sessions.parts(who.tenant, session)
    return {"training_run_ids": runs, "sampler_ids": samplers} | _summary(found)


@router.put("/{session}/project", status_code=204, dependencies=[Depends(needs("train"))])
async def move_session(
    session: str, body: bodies.Project, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    await house.desk.sessions.move(who.tenant, session, body.project_id)
    return Response(status_code=204)


@router.get("/{session}/trace_export")
async def export_trace(
    session: str, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """Ready at once: the trace is made from the journal when it is fetched."""
    await house.desk.sessions.find(who.tenant, session)
    ticket, _ = house.links.sign("trace", who.tenant, session, seconds=3600)
    return {"status": "ready", "url": signed_url(request, ticket, "trace.json")}


def _wanted(body: bodies.SearchSessions) -> Wanted:
    states = None
    if body.statuses is not None:
        states = tuple((one.type, None if one.reasons is None else tuple(one.reasons)) for one in body.statuses)
    after = (body.cursor.last_created_at.timestamp(), body.cursor.last_session_id) if body.cursor else None
    projects = None
    if body.project_ids is not None:
        projects = tuple(None if project == _NO_PROJECT else project for project in body.project_ids)
    return Wanted(
        id=body.session_id,
        words=tuple((body.display_name or "").split()),
        projects=projects,
        metadata=tuple(body.user_metadata.items()),
        states=states,
        after=after,
    )


def _summary(session: SessionInfo) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "created_at": _time(session.created_at),
        "owner": session.tenant,
        "project_id": session.project or _NO_PROJECT,
        "status": _status(session),
        "checkpoints_count": session.checkpoints,
        "checkpoint_storage_bytes": session.size_bytes,
        "display_name": session.display_name,
        "user_metadata": session.metadata,
    }


def _status(session: SessionInfo) -> dict[str, Any]:
    if session.state == "client_finished":
        return {"type": session.state, "reason": {"type": session.finished}, "detail": session.detail}
    return {"type": session.state} | ({"detail": session.detail or session.finished} if session.finished else {})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
