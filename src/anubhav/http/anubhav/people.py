"""Routes about people and what they said: sessions joined, traces, exports and imports, consent, erasure, policies."""

import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import Field, StringConstraints

from anubhav.episodes.trajectories import join
from anubhav.errors import NotAllowed
from anubhav.flows import people
from anubhav.flows.house import House
from anubhav.http.anubhav.bodies import Body, Id, Name
from anubhav.http.anubhav.routes import house_of, operator
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.types.models import Principal
from anubhav.types.people import Pattern, Policy

router = APIRouter()
Json = dict[str, Any]
Form = Literal["sft", "dpo", "kto", "trajectory"]
Place = Annotated[str, Query(max_length=1000)]


class PatternBody(Body):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]
    """email, phone, card or api-key as they are; or any other with a regex."""
    regex: Annotated[str, StringConstraints(max_length=500)] = ""


class PolicyBody(Body):
    train: bool = True
    keep_days: Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)] | None = None
    patterns: Annotated[list[PatternBody], Field(max_length=32)] = Field(default_factory=list[PatternBody])


class Consent(Body):
    train: bool


class Erasure(Body):
    user: Id
    tenant: Name | None = None
    """The operator's to name; otherwise the key's own."""
    retrain: bool = False
    """Roll back aliases that had learned from it and learn the rest anew: the operator's to ask."""


class Import(Body):
    alias: Name = "default"
    records: Annotated[list[Any], Field(min_length=1, max_length=1000)]


@router.get("/v1/sessions/{session:path}/trajectory", dependencies=[Depends(needs("read"))])
async def get_trajectory(session: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """The replies of a session as token-exact sequences, with versions, costs, and side turns apart."""
    return msgspec.to_builtins(join(session, await house.recorder.session(who.tenant, session)))


@router.get("/v1/trace/{name:path}", dependencies=[Depends(operator)])
async def get_trace(name: str, house: House = Depends(house_of)) -> Json:
    """What led to a reply, feedback, lap or release, and what came of it; of `rater:NAME` and `user:NAME`, that."""
    return msgspec.to_builtins(await house.lineage.trace(name))


@router.get(
    "/v1/episodes/export",
    response_class=StreamingResponse,
    responses=tells("application/jsonl"),
    dependencies=[Depends(needs("read"))],
)
async def export(
    form: Form = "sft",
    alias: str | None = None,
    place: Place = "",
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> StreamingResponse:
    """The tenant's own experience as JSON lines. `place`: where it goes, told again when somebody in it is erased."""
    name, rows = await people.export(house, who.tenant, form, alias, place)
    return StreamingResponse(_lines(rows), media_type="application/jsonl", headers={"x-export-id": name})


@router.post("/v1/episodes/import", dependencies=[Depends(needs("sample"))])
async def bring(body: Import, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """Lines of OpenAI-style JSONL, or of exports of Langfuse or OpenTelemetry. The same line twice is one episode."""
    return msgspec.to_builtins(await people.bring(house, who.tenant, body.alias, body.records))


@router.get("/v1/users/{user:path}", dependencies=[Depends(needs("read"))])
async def get_user(user: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return await house.people.look(who.tenant, user)


@router.put("/v1/users/{user:path}/consent", dependencies=[Depends(needs("sample"))])
async def set_consent(
    user: Annotated[str, StringConstraints(max_length=200)],
    body: Consent,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """With train false, no lap learns from what this user says or ever said."""
    await house.policies.opt_out(who.tenant, user, out=not body.train)
    return await house.people.look(who.tenant, user)


@router.post("/v1/erase", dependencies=[Depends(needs("admin"))])
async def erase(body: Erasure, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """Remove a user's episodes, feedback and remembered answers; the answer lists what had been made of them."""
    if not who.operator and (body.retrain or body.tenant not in (None, who.tenant)):
        raise NotAllowed("Other tenants and retraining are the operator's", hint="Name only the user.")
    tenant = body.tenant or who.tenant
    found, retraining = await people.erase(house, tenant, body.user, who.tenant, retrain=body.retrain)
    return {"user": body.user, **msgspec.to_builtins(found), "retraining": msgspec.to_builtins(retraining)}


@router.get("/v1/policies/{tenant:path}", dependencies=[Depends(operator)])
async def get_policy(tenant: Name, house: House = Depends(house_of)) -> Json:
    return {"tenant": tenant, **msgspec.to_builtins(await house.policies.of(tenant))}


@router.put("/v1/policies/{tenant:path}", dependencies=[Depends(operator)])
async def set_policy(tenant: Name, body: PolicyBody, house: House = Depends(house_of)) -> Json:
    """The whole policy: what is left out is as by default."""
    patterns = tuple(Pattern(one.name, one.regex) for one in body.patterns)
    kept = await house.policies.keep(tenant, Policy(body.train, body.keep_days, patterns))
    return {"tenant": tenant, **msgspec.to_builtins(kept)}


async def _lines(rows: AsyncGenerator[Json]) -> AsyncGenerator[str]:
    async for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"
