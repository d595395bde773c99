"""Routes of releases: what aliases answer with, how they release, what is tried out, and what learning brought."""

from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import Field

from anubhav.flows.house import House
from anubhav.flows.trying import compare, lift_json, measure_lift, roll_back
from anubhav.http.anubhav import bodies
from anubhav.http.anubhav.bodies import Body, Name
from anubhav.http.anubhav.routes import house_of, known_alias, live, operator
from anubhav.releases.shadows import summarise
from anubhav.releases.trials import describe
from anubhav.types.models import Principal
from anubhav.types.releases import ReleasePolicy

router = APIRouter()
Json = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=500)]


class Policy(Body):
    """The whole policy: what is left out is as at the beginning."""

    steps: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(max_length=20, default_factory=list)]
    """Percent of the people who hear a candidate, growing; none: everybody at once."""
    least_people: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    least_replies: Annotated[int, Field(ge=1, le=1_000_000)] = 30
    margin: Annotated[float, Field(ge=0, le=2)] = 0.1
    holdback: Annotated[int, Field(ge=0, le=50)] = 0
    shadow: Annotated[int, Field(ge=0, le=10_000)] = 20
    """Live prompts that a candidate answers unheard first."""


@router.get("/v1/releases", dependencies=[Depends(operator)])
async def list_releases(
    *, limit: Limit = 50, alias: str | None = None, live_only: Annotated[bool, Query(alias="live")] = False,
    house: House = Depends(house_of),
) -> Json:  # fmt: skip
    """With `live`, only what each alias answers with now."""
    found = await live(house) if live_only else await house.register.history(alias, limit)
    return {"data": [msgspec.to_builtins(release) for release in found]}


@router.post("/v1/rollback")
async def roll_back_alias(
    body: bodies.Rollback, house: House = Depends(house_of), who: Principal = Depends(operator)
) -> Json:
    """What is tried out is given up; where nothing is, the release before answers again, or the one named by `to`."""
    return msgspec.to_builtins(await roll_back(house, body.alias, body.who or who.tenant, body.why, body.to))


@router.get("/v1/release-policies/{alias:path}", dependencies=[Depends(operator)])
async def get_policy(alias: Name, house: House = Depends(house_of)) -> Json:
    """How the alias releases, what is tried out now, and how it stands."""
    await known_alias(house, alias)
    policy, trial = await house.trials.policy(alias), await house.trials.running(alias)
    past = [describe(one, policy) for one in await house.trials.recent(alias)]
    now: Json | None = None
    if trial:
        found, pairs = await compare(house, trial), await house.trials.shadows.pairs(trial)
        now = {
            **describe(trial, policy),
            "people": found.people,
            "difference": found.difference and asdict(found.difference),
            "failures": {"canary": asdict(found.rates[0]), "stable": asdict(found.rates[1])},
            "shadow": asdict(summarise(pairs)) if pairs else None,
        }
    return {"alias": alias, "policy": asdict(policy), "trial": now, "trials": past}


@router.put("/v1/release-policies/{alias:path}", dependencies=[Depends(operator)])
async def set_policy(alias: Name, body: Policy, house: House = Depends(house_of)) -> Json:
    await known_alias(house, alias)
    policy = ReleasePolicy(
        tuple(body.steps), body.least_people, body.least_replies, body.margin, body.holdback, shadow=body.shadow
    )
    await house.trials.set_policy(alias, policy)
    return await get_policy(alias, house)


@router.get("/v1/lift/{alias:path}", dependencies=[Depends(operator)])
async def get_lift(alias: Name, house: House = Depends(house_of)) -> Json:
    """How much better the release is liked than the frozen base, by people who are answered by the one or the other."""
    await known_alias(house, alias)
    return lift_json(await measure_lift(house, alias))
