"""Routes to look at the house: the overview, conversations, judgements, runs and what they measured, answers worth a
judgement."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query

from anubhav.flows.house import House
from anubhav.flows.judgements import judgements
from anubhav.flows.overview import overview
from anubhav.flows.picking import Picked, pick
from anubhav.http.anubhav import answers
from anubhav.http.anubhav.bodies import Name
from anubhav.http.anubhav.routes import house_of, known_alias, operator
from anubhav.http.auth import needs, principal
from anubhav.types.experience import FeedbackKind
from anubhav.types.ids import RunId
from anubhav.types.looking import Judgement
from anubhav.types.models import Principal

router = APIRouter()
Json = dict[str, Any]
Page = Annotated[int, Query(ge=1, le=100)]
Before = Annotated[int | None, Query(ge=1)]
_EVENTS = 50


@router.get("/v1/overview", dependencies=[Depends(operator)])
async def get_overview(house: House = Depends(house_of)) -> Json:
    """What answers now, whether it learns, what the last day brought, what waits for a person."""
    return msgspec.to_builtins(await overview(house))


@router.get("/v1/sessions", dependencies=[Depends(needs("read"))])
async def list_sessions(
    limit: Page = 20, before: Before = None, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """Those spoken in last first; `next`, sent as `before`, gives those that are older."""
    found = await house.conversations.page(None if who.operator else who.tenant, before, limit)
    return {"data": msgspec.to_builtins(found), "next": found[-1].seq if len(found) == limit else None}


@router.get("/v1/sessions/{session:path}/episodes", dependencies=[Depends(needs("read"))])
async def list_turns(
    session: str,
    limit: Page = 50,
    after: Annotated[int, Query(ge=0)] = 0,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """Of the key's own tenant, oldest first; `next`, sent as `after`, gives those that follow."""
    found = await house.conversations.turns(who.tenant, session, after, limit)
    shown = [answers.episode_json(episode, feedback) for episode, feedback in found]
    return {"data": shown, "next": found[-1][0].seq if len(found) == limit else None}


@router.get("/v1/feedback", dependencies=[Depends(needs("read"))])
async def list_feedback(
    alias: Name = "default",
    kind: FeedbackKind | None = None,
    rater: Annotated[str | None, Query(max_length=400)] = None,
    limit: Page = 20,
    before: Before = None,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """Newest first, and what became of each. `rater`: `<tenant>/<rater or user>`, as GET /v1/rewards names them."""
    await known_alias(house, alias)
    tenant = None if who.operator else who.tenant
    found = await judgements(house, alias, before, limit, tenant=tenant, kind=kind, rater=rater)
    return {"alias": alias, "data": [answers.judgement_json(one) for one in found], "next": _last(found, limit)}


@router.get("/v1/runs", dependencies=[Depends(needs("read", "train"))])
async def list_runs(
    limit: Page = 20, before: Before = None, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """Newest first; the operator sees every tenant's, those of laps among them, and how long the queue is."""
    found = await house.runs.page(None if who.operator else who.tenant, before, limit)
    told: Json = {"data": msgspec.to_builtins(found), "next": found[-1].position if len(found) == limit else None}
    return told | ({"queue": dict(house.desk.queue)} if who.operator else {})


@router.get("/v1/runs/{run}", dependencies=[Depends(needs("read", "train"))])
async def get_run(run: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """With where its next operation stands, if one waits, and what happened to it, newest first."""
    found = await house.runs.find(None if who.operator else who.tenant, run)
    events, queue = await house.runs.events(run, _EVENTS), house.desk.next_of(RunId(run))
    return {
        **msgspec.to_builtins(found), "queue": msgspec.to_builtins(queue), "events": msgspec.to_builtins(events)
    }  # fmt: skip


@router.get("/v1/runs/{run}/metrics", dependencies=[Depends(needs("read", "train"))])
async def get_metrics(
    run: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    after: Annotated[int | None, Query(ge=-1)] = None,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """What each operation measured: the last ones, or those behind `after`."""
    found = await house.runs.find(None if who.operator else who.tenant, run)
    return {"run": found.id, "data": msgspec.to_builtins(await house.runs.measured(run, after, limit))}


@router.get("/v1/review", dependencies=[Depends(needs("read"))])
async def get_review_queue(
    alias: Name = "default",
    limit: Page = 20,
    rater: Annotated[str, Query(min_length=1, max_length=200)] = "console",
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """The key's own answers that this rater did not judge yet; send what is thought of them to /v1/feedback."""
    await known_alias(house, alias)
    picked = await pick(house, who.tenant, alias, rater, limit)
    return {"alias": alias, "rater": rater, "data": [_picked(one) for one in picked]}


def _last(found: Sequence[Judgement], limit: int) -> int | None:
    return found[-1].feedback.seq if len(found) == limit else None


def _picked(one: Picked) -> Json:
    return {
        **msgspec.to_builtins(one),
        "kind": "pair" if len(one.answers) > 1 else "single",
        "messages": [answers.message_json(message) for message in one.messages],
    }
