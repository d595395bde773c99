"""Routes of the OpenAI API, at `/v1` and, as Tinker's service has it, at `/oai/api/v1`."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from anubhav.errors import BadInput
from anubhav.flows import chat, complete
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.entrance import house_of
from anubhav.http.hangup import EventStream, answered
from anubhav.http.identity import identify
from anubhav.http.memories import headers_of
from anubhav.http.openai import answers, bodies, embeddings, files, texts, tokens, tuning
from anubhav.http.streaming import DONE, streamed
from anubhav.types.models import Principal

_api = APIRouter()
_EITHER = tells("application/json", "text/event-stream")


@_api.get("/models", dependencies=[Depends(needs("train", "sample", "read"))])
async def list_models(house: House = Depends(house_of), who: Principal = Depends(principal)) -> dict[str, Any]:
    """Base models, aliases and fine-tuned models of yours. Every `tinker://` path of yours is a model name too.

    The list of Anthropic's API stands at the same address, so one answer serves both.
    """
    data = [answers.model_json(name) for name in await house.voices.names()]
    tuned = await house.voices.all_tuned(who.tenant)
    data += [answers.model_json(one.name, created=int(one.created_at), owner=who.tenant) for one in tuned]
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


@_api.get("/models/{name:path}", dependencies=[Depends(needs("train", "sample", "read"))])
async def get_model(name: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> dict[str, Any]:
    voice = await house.voices.resolve(who.tenant, name)
    tuned = await house.voices.tuned(who.tenant, name)
    origin: Any = {"created": int(tuned.created_at), "owner": tuned.tenant} if tuned else {}
    length = house.models[voice.base_model].context_length
    return {**answers.model_json(voice.name, **origin), "max_model_len": length}


@_api.post("/chat/completions", response_model=None, responses=_EITHER, dependencies=[Depends(needs("sample"))])
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
    renderer = house.renderers[reply.voice.base_model]
    shown = answers.Shown(bool(body.logprobs), body.usage_wanted, bool(body.return_token_ids))
    if body.stream:
        events = answers.events(reply, renderer, shown)
        return _stream(events, request, headers_of(reply))
    response.headers.update(headers_of(reply))
    return await answered(request, answers.whole(reply, renderer, asked.n, shown))


@_api.post("/completions", response_model=None, responses=_EITHER, dependencies=[Depends(needs("sample"))])
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
    return await answered(request, answer)


def _stream(
    events: AsyncGenerator[dict[str, Any]], request: Request, headers: Mapping[str, str] | None = None
) -> EventStream:
    return EventStream(streamed(events, request.state.request_id, ending=DONE), headers)


for _part in (tokens, embeddings, files, tuning):
    _api.include_router(_part.router)
router = APIRouter()
router.include_router(tokens.router)
router.include_router(_api, prefix="/v1")
router.include_router(_api, prefix="/oai/api/v1", include_in_schema=False)
_models = APIRouter(dependencies=[Depends(needs("train", "sample", "read"))])
for _prefix in ("/anthropic/v1", "/anthropic/api/v1"):
    _models.add_api_route(f"{_prefix}/models", list_models)
router.include_router(_models, include_in_schema=False)
