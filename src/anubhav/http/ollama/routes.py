"""Routes of Ollama's API, at `/api`. Models are brought by `anubhav serve --model`, so pulling and deleting are not
among them.
"""

import time
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, Request

from anubhav.flows import chat
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.entrance import house_of
from anubhav.http.hangup import EventStream, answered
from anubhav.http.identity import identify
from anubhav.http.memories import headers_of
from anubhav.http.ollama import answers, bodies
from anubhav.types.models import Principal

router = APIRouter(prefix="/api")
_EITHER = tells("application/json", "application/x-ndjson")


@router.get("/version", dependencies=[Depends(needs("train", "sample", "read"))])
async def tell_version() -> dict[str, str]:
    return {"version": version("anubhav")}


@router.get("/tags", dependencies=[Depends(needs("train", "sample", "read"))])
async def list_models(house: House = Depends(house_of)) -> dict[str, Any]:
    first = next(iter(house.models.values()))
    names = await house.voices.names()
    return {"models": [answers.model_json(name, house.models.get(name, first)) for name in names]}


@router.post("/show", dependencies=[Depends(needs("train", "sample", "read"))])
async def show_model(
    body: bodies.Named, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    voice = await house.voices.resolve(who.tenant, body.wanted)
    model, renderer = house.models[voice.base_model], house.renderers[voice.base_model]
    return {
        "license": model.licence,
        "template": renderer.template,
        "details": answers.details(model),
        "model_info": {"general.architecture": "anubhav", "anubhav.context_length": model.context_length},
        "capabilities": ["completion", "tools"] + ["thinking"] * (renderer.dialect.thinks is not None),
    }


@router.post("/chat", response_model=None, responses=_EITHER, dependencies=[Depends(needs("sample"))])
async def create_chat(
    body: bodies.Chat, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any] | EventStream:
    """The reply's id is its episode's: send feedback on it to /v1/feedback."""
    return await _answer(body, answers.chat_shape, request, house, who)


@router.post("/generate", response_model=None, responses=_EITHER, dependencies=[Depends(needs("sample"))])
async def generate(
    body: bodies.Generate, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any] | EventStream:
    return await _answer(body.as_chat(), answers.generate_shape, request, house, who)


async def _answer(
    body: bodies.Chat, shape: answers.Shape, request: Request, house: House, who: Principal
) -> dict[str, Any] | EventStream:
    started = time.monotonic()
    reply = await chat.begin(house, who.tenant, bodies.question(body, identify(request.headers, body, body.texts)))
    if body.stream is not False:
        lines = answers.lines(reply, shape, started, request.state.request_id)
        return EventStream(lines, {"content-type": "application/x-ndjson", **headers_of(reply)})
    return await answered(request, answers.whole(reply, shape, started))
