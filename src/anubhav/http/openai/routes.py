"""Routes of the OpenAI API, at `/v1` and, as Tinker's service has it, at `/oai/api/v1`."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import StreamingResponse

from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.http.auth import principal
from anubhav.http.openai import answers, bodies
from anubhav.types.models import Principal

_api = APIRouter()


def house_of(request: Request) -> House:
    return request.app.state.house


@_api.get("/models")
async def list_models(house: House = Depends(house_of), _: Principal = Depends(principal)) -> dict[str, Any]:
    """Base models and aliases. Every `tinker://` path of yours is a model name too."""
    now = int(time.time())
    names = await house.voices.names()
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": now, "owned_by": "anubhav"} for name in names],
    }


@_api.get("/models/{name:path}")
async def get_model(name: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> dict[str, Any]:
    voice = await house.voices.resolve(who.tenant, name)
    return {"id": voice.name, "object": "model", "created": int(time.time()), "owned_by": "anubhav"}


@_api.post("/chat/completions", response_model=None)
async def chat_completions(
    body: bodies.Chat,
    request: Request,
    x_session_id: Annotated[str | None, Header(max_length=200)] = None,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any] | StreamingResponse:
    """The reply's id is its episode's: send feedback on it to /v1/feedback."""
    asked = bodies.question(body, x_session_id)
    reply = await begin(house, who.tenant, asked)
    renderer, logprobs = house.renderers[reply.voice.base_model], bool(body.logprobs)
    if not body.stream:
        return await answers.whole(reply, renderer, asked.n, logprobs=logprobs)
    usage = bool(body.stream_options and body.stream_options.include_usage)
    stream = answers.events(reply, renderer, request.state.request_id, logprobs=logprobs, usage=usage)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-cache"})


router = APIRouter()
router.include_router(_api, prefix="/v1")
router.include_router(_api, prefix="/oai/api/v1")
