"""Routes of laps: begin one, watch it, pause, resume or cancel it, and let an alias learn by a schedule."""

from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import Field, StringConstraints

from anubhav.flows.holding import hold_learning, let_learn
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.scheduling import stand
from anubhav.http.anubhav import answers, bodies
from anubhav.http.anubhav.bodies import Body, Name
from anubhav.http.anubhav.routes import house_of, known_alias, operator
from anubhav.types.models import Principal
from anubhav.types.schedules import Schedule

router = APIRouter()
Json = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=500)]


class Hold(Body):
    paused: bool
    why: Annotated[str, StringConstraints(max_length=1000)] = ""


class Timing(Body):
    every: Annotated[float, Field(ge=60, le=366 * 86400)] | None = None
    """Seconds between two laps."""
    after: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Unread judgements that begin a lap."""
    apart: Annotated[float, Field(ge=0, le=366 * 86400)] = 600.0
    """Seconds that laps are apart at least."""


@router.post("/v1/laps", status_code=202)
async def start(body: bodies.Lap, house: House = Depends(house_of), who: Principal = Depends(operator)) -> Json:
    return answers.lap_json(await start_lap(house, body.alias, who.tenant))


@router.get("/v1/laps", dependencies=[Depends(operator)])
async def list_laps(
    limit: Limit = 20,
    alias: str | None = None,
    before: Annotated[str | None, Query(max_length=200)] = None,
    house: House = Depends(house_of),
) -> Json:
    """Newest first; `next`, a lap's id, sent as `before`, gives those that are older."""
    found = await house.laps.recent(alias, limit, before)
    return {"data": [answers.lap_json(lap) for lap in found], "next": found[-1].id if len(found) == limit else None}


@router.get("/v1/laps/{lap}", dependencies=[Depends(operator)])
async def get_lap(*, lap: str, evidence: bool = False, house: House = Depends(house_of)) -> Json:
    """With `evidence`, every probe's score and what both voices said."""
    found, scores = await house.laps.find(lap)
    return {**answers.lap_json(found), **({"evidence": scores and msgspec.json.decode(scores)} if evidence else {})}


@router.post("/v1/laps/{lap}/pause", dependencies=[Depends(operator)])
async def pause_lap(lap: str, house: House = Depends(house_of)) -> Json:
    """After the batch under way."""
    return answers.lap_json(await house.laps.pause(lap))


@router.post("/v1/laps/{lap}/resume", dependencies=[Depends(operator)])
async def resume_lap(lap: str, house: House = Depends(house_of)) -> Json:
    return answers.lap_json(await house.laps.resume(lap))


@router.post("/v1/laps/{lap}/cancel")
async def cancel_lap(lap: str, house: House = Depends(house_of), who: Principal = Depends(operator)) -> Json:
    """Its feedback stays unread."""
    return answers.lap_json(await house.laps.cancel(lap, who.tenant))


@router.get("/v1/learning", dependencies=[Depends(operator)])
async def whether_it_learns(house: House = Depends(house_of)) -> Json:
    hold = await house.holds.standing()
    return {"paused": hold is not None, "hold": hold and asdict(hold)}


@router.put("/v1/learning")
async def hold_or_let_go(body: Hold, house: House = Depends(house_of), who: Principal = Depends(operator)) -> Json:
    """Paused: no lap begins, and those that run rest after their batch, until it is let go on."""
    await (hold_learning(house, who.tenant, body.why) if body.paused else let_learn(house))
    return await whether_it_learns(house)


@router.get("/v1/learning/{alias:path}", dependencies=[Depends(operator)])
async def learning(alias: Name, house: House = Depends(house_of)) -> Json:
    """Where the alias stands: the lap that runs, what is unread, when the next one begins, the last verdicts."""
    await known_alias(house, alias)
    found = await stand(house, alias)
    return {
        "alias": alias,
        "running": found.running and answers.lap_json(found.running),
        "unread": found.unread,
        "schedule": found.schedule and asdict(found.schedule),
        "next_at": found.next_at,
        "recent": [answers.lap_json(lap) for lap in found.recent],
    }


@router.put("/v1/learning/{alias:path}", dependencies=[Depends(operator)])
async def set_schedule(alias: Name, body: Timing, house: House = Depends(house_of)) -> Json:
    """The whole schedule."""
    await known_alias(house, alias)
    await house.schedules.set(alias, Schedule(body.every, body.after, body.apart))
    return await learning(alias, house)


@router.delete("/v1/learning/{alias:path}", dependencies=[Depends(operator)])
async def end_schedule(alias: Name, house: House = Depends(house_of)) -> Json:
    """From here on laps are begun by hand."""
    await known_alias(house, alias)
    await house.schedules.set(alias, None)
    return await learning(alias, house)
