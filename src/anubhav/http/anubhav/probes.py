"""Routes of what judges laps: sealed probes, and the evidence of verdicts. They take a credential of their own, the
scope `judge`, so that nobody who trains or chats sees what a candidate will be asked."""

import hashlib
from typing import Any

import msgspec
from fastapi import APIRouter, Depends

from anubhav.errors import BadInput, NotFound
from anubhav.flows.house import House
from anubhav.flows.verdicts import look_up
from anubhav.http.anubhav import bodies
from anubhav.http.anubhav.routes import house_of
from anubhav.http.auth import OutOfScope, needs, principal
from anubhav.types.chat import Message
from anubhav.types.experience import Probe
from anubhav.types.models import Principal

Json = dict[str, Any]


async def judging(who: Principal = Depends(principal), _: None = Depends(needs("judge"))) -> Principal:
    """An operator's key with the scope, or a key that can neither train nor sample."""
    if not who.operator and who.scopes & {"train", "sample"}:
        raise OutOfScope(
            "A key that trains or chats may not see what judges it",
            hint="Ask the operator for a key of its own: `anubhav key create --scope judge`.",
        )
    return who


router = APIRouter(dependencies=[Depends(judging)])


@router.post("/v1/probes")
async def seal_probes(body: bodies.Probes, house: House = Depends(house_of)) -> Json:
    """The same probe twice is one probe."""
    if body.alias in house.models:
        raise BadInput(f"{body.alias} is a base model, which no lap changes", hint="Choose another name for the alias.")
    probes = [_probe(body.alias, one) for one in body.probes]
    await house.probes.add(probes)
    return {"data": [{"id": probe.id, "suite": probe.suite} for probe in probes]}


@router.get("/v1/probes")
async def list_probes(*, alias: str = "default", repairs: bool = False, house: House = Depends(house_of)) -> Json:
    """With `repairs`, the accepted corrections that guard later laps instead."""
    found = await (house.probes.repairs(alias) if repairs else house.probes.of(alias))
    return {"data": [msgspec.to_builtins(probe) for probe in found]}


@router.delete("/v1/probes/{probe}")
async def remove_probe(*, probe: str, alias: str = "default", house: House = Depends(house_of)) -> Json:
    if not await house.probes.remove(alias, [probe]):
        raise NotFound(f"{alias[:100]} has no probe {probe[:100]}", hint="List them with `anubhav probes list`.")
    return {"id": probe, "removed": True}


@router.get("/v1/verdicts/{lap}")
async def get_verdict(lap: str, house: House = Depends(house_of)) -> Json:
    """Suite by suite, with some prompts on which the candidate was better, and some on which it was worse."""
    found = await look_up(house, lap)
    summary: Json = msgspec.to_builtins(found.verdict)
    return {**summary, "lap": found.lap.id, "alias": found.lap.alias, "examples": found.examples}


def _probe(alias: str, asked: bodies.Probe) -> Probe:
    messages = (
        tuple(Message(message.role, message.content) for message in asked.messages)
        if asked.messages
        else (Message("user", asked.question or ""),)
    )
    content = msgspec.json.encode([alias, asked.suite, asked.check, messages, asked.expected])
    return Probe(
        f"pr_{hashlib.sha256(content).hexdigest()[:24]}", asked.suite, asked.check, messages, asked.expected, alias
    )
