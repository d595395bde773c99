"""Routes of OpenAI's Responses API. A stored response is its episode: what follows on it is read from there."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from anubhav.errors import BadInput
from anubhav.flows import chat
from anubhav.flows.continuing import find_told
from anubhav.flows.conversing import follow
from anubhav.flows.deferring import defer, forget, look_up
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.entrance import house_of
from anubhav.http.hangup import EventStream, answered
from anubhav.http.identity import identify
from anubhav.http.memories import headers_of
from anubhav.http.openai import answers, conversations, response_answers, response_bodies
from anubhav.http.openai.items import join
from anubhav.http.streaming import DONE, streamed
from anubhav.types.chat import Message
from anubhav.types.models import Principal

_api = APIRouter()
_EITHER = tells("application/json", "text/event-stream")


@_api.post("/responses", response_model=None, responses=_EITHER, dependencies=[Depends(needs("sample"))])
async def create_response(
    body: response_bodies.Create,
    request: Request,
    response: Response,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any] | EventStream:
    """The response's id is its episode's: send feedback on it to /v1/feedback."""
    identity = identify(request.headers, body, body.texts)
    before = await _before(house, who.tenant, body)
    reply = await chat.begin(house, who.tenant, response_bodies.question(body, identity, before))
    if body.talk:
        noted = response_answers.noted(reply.id, body)
        reply = follow(house, who.tenant, body.talk, reply, noted)
    if body.background:
        return response_answers.queued(reply, body, await defer(house, who.tenant, reply))
    told = answers.token_logprobs(house.renderers[reply.voice.base_model])
    if body.stream:
        events = response_answers.events(reply, body, told)
        stream = streamed(events, request.state.request_id, named=True, ending=DONE)
        return EventStream(stream, headers_of(reply))
    response.headers.update(headers_of(reply))
    return await answered(request, response_answers.whole(reply, body, told))


@_api.get("/responses/{name}", dependencies=[Depends(needs("sample", "read"))])
async def get_response(
    name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    return response_answers.looked_up(*await look_up(house, who.tenant, name))


@_api.delete("/responses/{name}", dependencies=[Depends(needs("sample"))])
async def delete_response(
    name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """With the feedback on it, and out of its conversation."""
    await forget(house, who.tenant, name)
    return {"id": name, "object": "response", "deleted": True}


@_api.post("/responses/{name}/cancel", dependencies=[Depends(needs("sample"))])
async def cancel_response(
    name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """One that was asked for in the background; what was whole already stays."""
    await house.later.cancel(who.tenant, name)
    return response_answers.looked_up(*await look_up(house, who.tenant, name))


@_api.get("/responses/{name}/input_items", dependencies=[Depends(needs("sample", "read"))])
async def list_input_items(
    name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    return response_answers.input_items(await find_told(house, who.tenant, name))


async def _before(house: House, tenant: str, body: response_bodies.Create) -> tuple[Message, ...]:
    """What was said before, without the instructions of then."""
    if body.previous_response_id and body.talk:
        raise BadInput("previous_response_id and conversation are two ways to go on", hint="Send one of them.")
    if body.talk:
        return tuple(join(one.message for one in await house.talks.entries(tenant, body.talk)))
    if not body.previous_response_id:
        return ()
    said = (await find_told(house, tenant, body.previous_response_id)).conversation
    return tuple(one for one in said if one.role != "system" or one.name != response_bodies.INSTRUCTIONS)


_api.include_router(conversations.router)
router = APIRouter()
router.include_router(_api, prefix="/v1")
router.include_router(_api, prefix="/oai/api/v1", include_in_schema=False)
