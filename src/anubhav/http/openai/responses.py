"""Routes of OpenAI's Responses API. A stored response is its episode: what follows on it is read from there."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from anubhav.errors import BadInput
from anubhav.flows import chat
from anubhav.flows.continuing import find_told, last_told
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.entrance import house_of
from anubhav.http.hangup import EventStream, answered
from anubhav.http.identity import identify
from anubhav.http.memories import headers_of
from anubhav.http.openai import answers, response_answers, response_bodies
from anubhav.http.streaming import DONE, streamed
from anubhav.types.chat import Message
from anubhav.types.ids import new_id
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
    before = await _before(house, who.tenant, body, identity.session)
    reply = await chat.begin(house, who.tenant, response_bodies.question(body, identity, before))
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
    return response_answers.again(await find_told(house, who.tenant, name))


@_api.get("/responses/{name}/input_items", dependencies=[Depends(needs("sample", "read"))])
async def list_input_items(
    name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    return response_answers.input_items(await find_told(house, who.tenant, name))


@_api.post("/conversations", dependencies=[Depends(needs("sample"))])
async def create_conversation(body: response_bodies.Conversation, _: Principal = Depends(principal)) -> dict[str, Any]:
    """A name; what is said in it is what its responses record."""
    return {"id": new_id("conv"), "object": "conversation", "created_at": body.now, "metadata": body.metadata or {}}


async def _before(house: House, tenant: str, body: response_bodies.Create, session: str | None) -> tuple[Message, ...]:
    """What was said before, without the instructions of then."""
    if body.previous_response_id and body.conversation:
        raise BadInput("previous_response_id and conversation are two ways to go on", hint="Send one of them.")
    told = None
    if body.previous_response_id:
        told = await find_told(house, tenant, body.previous_response_id)
    elif body.conversation and session:
        told = await last_told(house, tenant, session)
    said = told.conversation if told else []
    return tuple(one for one in said if one.role != "system" or one.name != response_bodies.INSTRUCTIONS)


router = APIRouter()
router.include_router(_api, prefix="/v1")
router.include_router(_api, prefix="/oai/api/v1", include_in_schema=False)
