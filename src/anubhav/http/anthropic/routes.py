"""Routes of Anthropic's Messages API: at `/v1`, and under `/anthropic`, where base URLs of other services have it."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from anubhav.flows import chat
from anubhav.flows.house import House
from anubhav.http.anthropic import answers, bodies
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.entrance import house_of
from anubhav.http.hangup import EventStream, answered
from anubhav.http.identity import identify
from anubhav.http.memories import headers_of
from anubhav.http.streaming import streamed
from anubhav.rendering.sight import check_sight
from anubhav.types.models import Principal

_api = APIRouter()
_EITHER = tells("application/json", "text/event-stream")


@_api.post("/messages", response_model=None, responses=_EITHER, dependencies=[Depends(needs("sample"))])
async def create_message(
    body: bodies.Messages,
    request: Request,
    response: Response,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any] | EventStream:
    """The reply's id is its episode's: send feedback on it to /v1/feedback."""
    asked = bodies.question(body, identify(request.headers, body, body.texts))
    reply = await chat.begin(house, who.tenant, asked)
    renderer = house.renderers[reply.voice.base_model]
    if body.stream:
        events = answers.events(reply, renderer, asked.stop)
        return EventStream(streamed(events, request.state.request_id, named=True), headers_of(reply))
    response.headers.update(headers_of(reply))
    return await answered(request, answers.whole(reply, renderer, asked.stop))


@_api.post("/messages/count_tokens", dependencies=[Depends(needs("sample", "read"))])
async def count_tokens(
    body: bodies.Asked, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, int]:
    voice = await house.voices.resolve(who.tenant, body.model)
    messages = bodies.conversation(body)
    check_sight(messages, house.models[voice.base_model])
    prompt = house.renderers[voice.base_model].render(messages, settings=bodies.settings(body))
    return {"input_tokens": len(prompt)}


router = APIRouter()
for _prefix in ("/v1", "/anthropic/v1", "/anthropic/api/v1"):
    router.include_router(_api, prefix=_prefix, include_in_schema=_prefix == "/v1")
