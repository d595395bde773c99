"""Routes of the OpenAI API, at `/v1` and, as Tinker's service has it, at `/oai/api/v1`."""

import time
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from anubhav.errors import BadInput, Gone
from anubhav.flows import chat, complete
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.openai import answers, bodies, texts
from anubhav.http.openai.hangup import EventStream, unless_gone
from anubhav.http.openai.identity import identify
from anubhav.types.models import Principal

_api = APIRouter()


async def house_of(request: Request) -> House:
    return request.app.state.house


@_api.get("/models", dependencies=[Depends(needs("train", "sample", "read"))])
async def list_models(house: House = Depends(house_of), _: Principal = Depends(principal)) -> dict[str, Any]:
    """Base models and aliases. Every `tinker://` path of yours is a model name too."""
    now = int(time.time())
    names = await house.voices.names()
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": now, "owned_by": "anubhav"} for name in names],
    }


@_api.get("/models/{name:path}", dependencies=[Depends(needs("train", "sample", "read"))])
async def get_model(name: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> dict[str, Any]:
    voice = await house.voices.resolve(who.tenant, name)
    length = house.models[voice.base_model].context_length
    head = {"id": voice.name, "object": "model", "created": int(time.time()), "owned_by": "anubhav"}
    return {**head, "max_model_len": length}


@_api.post("/chat/completions", response_model=None, dependencies=[Depends(needs("sample"))])
async def chat_completions(
    body: bodies.Chat,
    request: Request,
    response: Response,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any] | EventStream:
    """The reply's id is its episode's: send feedback on it to /v1/feedback. What it remembered is in a header."""
    asked = bodies.question(body, identify(request.headers, body, body.texts))
    reply = await chat.begin(house, who.tenant, asked)
    renderer, logprobs = house.renderers[reply.voice.base_model], bool(body.logprobs)
    if body.stream:
        events = answers.events(reply, renderer, logprobs=logprobs, usage=body.usage_wanted)
        return _stream(events, request, _remembered(reply))
    response.headers.update(_remembered(reply))
    return await _whole(answers.whole(reply, renderer, asked.n, logprobs=logprobs), request)


@_api.post("/completions", response_model=None, dependencies=[Depends(needs("sample"))])
async def completions(
    body: bodies.Completion, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any] | EventStream:
    """Text continued as it is, without a chat template. Not recorded, so there is no feedback on it."""
    asked = bodies.passage(body)
    if body.stream and body.echo:
        raise BadInput("echo in a stream is not in this build", hint="Leave out one of them.")
    voice, parts = await complete.begin(house, who.tenant, asked)
    renderer, logprobs = house.renderers[voice.base_model], body.logprobs is not None
    if body.stream:
        events = texts.events(voice, parts, renderer, asked.n, logprobs=logprobs, usage=body.usage_wanted)
        return _stream(events, request)
    answer = texts.whole(voice, parts, renderer, asked.n, echo=bool(body.echo), logprobs=logprobs)
    return await _whole(answer, request)


def _remembered(reply: chat.Reply) -> dict[str, str]:
    return {"x-anubhav-memory": reply.memory} if reply.memory else {}


def _stream(
    events: AsyncGenerator[dict[str, Any]], request: Request, headers: Mapping[str, str] | None = None
) -> EventStream:
    return EventStream(answers.streamed(events, request.state.request_id), headers)


async def _whole(answer: Coroutine[Any, Any, dict[str, Any]], request: Request) -> dict[str, Any]:
    found = await unless_gone(request.receive, answer)
    if found is None:
        raise Gone("The client hung up before the answer was whole")
    return found


router = APIRouter()
router.include_router(_api, prefix="/v1")
router.include_router(_api, prefix="/oai/api/v1")
