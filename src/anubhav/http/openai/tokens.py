"""The tokenizer of a served model over HTTP, in vLLM's shapes: what lm-eval's remote tokenizer reads.

At the root, as vLLM has it, and under `/v1`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.flows import tokenizing
from anubhav.flows.house import House
from anubhav.flows.tokenizing import Tokens
from anubhav.http.auth import needs, principal
from anubhav.http.entrance import house_of
from anubhav.http.openai import bodies
from anubhav.http.openai.bodies import Body, Text
from anubhav.http.openai.tools import Tools, read_tools
from anubhav.http.tools import bring
from anubhav.types.models import Principal

router = APIRouter(dependencies=[Depends(needs("train", "sample", "read"))])
Name = Annotated[str, StringConstraints(min_length=1, max_length=400)]


class Tokenize(Body):
    """A text, or the messages of a chat."""

    model: Name | None = None
    prompt: Text | None = None
    messages: Annotated[list[bodies.ChatMessage], Field(min_length=1, max_length=10_000)] | None = None
    add_special_tokens: bool | None = None
    """Of a text alone; usually true. A chat template writes its own."""
    return_token_strs: bool | None = None
    add_generation_prompt: bool = True
    tools: Tools | None = None


class Detokenize(Body):
    model: Name | None = None
    tokens: Annotated[list[int], Field(max_length=1_000_000)]


@router.post("/tokenize")
async def tokenize(
    body: Tokenize, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    found = await _tokenize(house, who, body)
    pieces = found.pieces if body.return_token_strs else None
    return {"count": len(found.ids), "max_model_len": found.context_length, "tokens": found.ids, "token_strs": pieces}


@router.post("/detokenize")
async def detokenize(
    body: Detokenize, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    return {"prompt": await tokenizing.detokenize(house, who.tenant, body.model, tuple(body.tokens))}


@router.get("/tokenizer_info")
async def tokenizer_info(
    model: Annotated[Name | None, Query()] = None,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    """The model's tokenizer_config.json with its chat template; of the first model unless another is named."""
    renderer, served = await tokenizing.find(house, who.tenant, model)
    usual = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": None, "pad_token": None}
    return {**usual, "model_max_length": served.context_length, **renderer.settings}


async def _tokenize(house: House, who: Principal, body: Tokenize) -> Tokens:
    if (body.prompt is None) == (body.messages is None):
        raise BadInput("What to tokenize is one of prompt and messages", hint="Send exactly one of them.")
    if body.messages is None:
        special = body.add_special_tokens is not False
        return await tokenizing.tokenize(house, who.tenant, body.model, body.prompt or "", special=special)
    offered = read_tools(body.tools, None, several=None).tools
    messages = bring([bodies.message_of(one) for one in body.messages], offered)
    return await tokenizing.tokenize_chat(house, who.tenant, body.model, messages, prompt=body.add_generation_prompt)
