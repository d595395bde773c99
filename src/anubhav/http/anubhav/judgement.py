"""Routes of the rewards: how the critic stands, which raters it believes, and judges that are asked to vote."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field, StringConstraints

from anubhav.errors import NotFound
from anubhav.flows.house import House
from anubhav.flows.judgements import mistakes
from anubhav.flows.judging import Judge, judge
from anubhav.http.anubhav import answers
from anubhav.http.anubhav.bodies import Body, Id, Name, Text
from anubhav.http.anubhav.routes import house_of, operator
from anubhav.rewards.judges import CRITIQUE

router = APIRouter()
Json = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=500)]


class Settings(Body):
    implied: bool
    """Whether thanks, repeated questions and giving up in the next turn count as weak votes."""


class Marking(Body):
    rater: Id
    """`<tenant>/<rater or user>` or `judge:<name>`, as GET /v1/rewards names them."""
    mark: Literal["trusted", "quarantined"] | None


class Judging(Body):
    alias: Name = "default"
    judge: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=500)] | None = None
    """Of another OpenAI-compatible server; none is this one."""
    api_key: Annotated[str, StringConstraints(max_length=500)] = ""
    """Used for these calls and kept nowhere."""
    rubric: Text = CRITIQUE
    limit: Annotated[int, Field(ge=1, le=100)] = 20


@router.get("/v1/rewards/{alias:path}", dependencies=[Depends(operator)])
async def rewards(alias: Name, raters: Limit = 50, house: House = Depends(house_of)) -> Json:
    """The critic's figures, curves and alarms about an alias, what it expected least, and its raters, who voted most
    first."""
    if alias not in await house.voices.names():
        raise NotFound(f"There is no alias {alias!r}", hint=f"Use one of: {', '.join(await house.voices.names())}.")
    report, known = await house.watch.glance(alias)
    return {
        **asdict(report),
        "implied": await house.hearsay.implies(alias),
        "disagreements": [
            {"predicted": chance, **answers.judgement_json(one)}
            for chance, one in await mistakes(house, alias, report.curves.worst)
        ],
        "raters": [asdict(one) for one in known[:raters]],
        "raters_known": len(known),
    }


@router.put("/v1/rewards/{alias:path}", dependencies=[Depends(operator)])
async def set_rewards(alias: Name, body: Settings, house: House = Depends(house_of)) -> Json:
    await house.hearsay.set_implies(alias, implied=body.implied)
    return {"alias": alias, "implied": body.implied}


@router.post("/v1/raters", dependencies=[Depends(operator)])
async def mark_rater(body: Marking, house: House = Depends(house_of)) -> Json:
    """Trusted, quarantined, or null: by the record again. A rater not met yet is marked for when they come."""
    await house.trust.mark(body.rater, body.mark)
    return {"rater": body.rater, "mark": body.mark}


@router.post("/v1/judgements", dependencies=[Depends(operator)])
async def ask_judge(body: Judging, house: House = Depends(house_of)) -> Json:
    """Let a model vote on the last answers of an alias; each judge has one vote on an answer."""
    by = Judge(body.judge, body.model, body.base_url, body.api_key, body.rubric)
    return asdict(await judge(house, body.alias, by, body.limit))
