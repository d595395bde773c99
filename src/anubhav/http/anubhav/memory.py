"""Routes of memories: what is remembered of a session or a user, why, and everything that can be changed about it."""

import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints

from anubhav.errors import BadInput
from anubhav.flows import amending
from anubhav.flows.house import House
from anubhav.http.anubhav.bodies import Body
from anubhav.http.anubhav.routes import Limit, house_of
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.types.models import Principal
from anubhav.types.remembering import LedgerFilter, LedgerLine, Shelved

router = APIRouter()
Json = dict[str, Any]
Name = Annotated[str | None, Query(max_length=200)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=32_000)]
_ROWS = tells("application/jsonl")
_READS = [Depends(needs("read"))]
_LINES = 500


class ChunkBody(Body):
    text: Words | None = None
    pinned: bool | None = None


class Forget(Body):
    words: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Pin(Body):
    text: Words


async def which_lines(episode: Name = None, chunk: Name = None, act: Name = None) -> LedgerFilter:
    return LedgerFilter(episode, chunk, act)


@router.get("/v1/memories", dependencies=[Depends(needs("read"))])
async def list_memories(
    session: Name = None,
    user: Name = None,
    limit: Limit = 100,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """The last changed first; `user`: theirs, and those of sessions they spoke in."""
    return {"data": [_head(one) for one in await house.memories.list_of(who.tenant, session, user, limit)]}


@router.get("/v1/memories/{memory}", dependencies=[Depends(needs("read"))])
async def get_memory(memory: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return memory_json(await house.memories.get(who.tenant, memory))


@router.get("/v1/memories/{memory}/ledger", dependencies=[Depends(needs("read"))])
async def get_ledger(
    memory: str,
    which: LedgerFilter = Depends(which_lines),
    before: Annotated[int, Query(ge=1)] | None = None,
    limit: Limit = 100,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    """Newest first; `next`, sent as `before`, gives those that are older."""
    found = await house.memories.get(who.tenant, memory)
    lines = await house.memories.ledger(found.id, which, before, limit)
    return {"data": [line_json(line) for line in lines], "next": lines[-1].seq if len(lines) == limit else None}


@router.get("/v1/memories/{memory}/export", response_class=StreamingResponse, responses=_ROWS, dependencies=_READS)
async def export(
    memory: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> StreamingResponse:
    """JSON lines: the memory, its chunks, its ledger from the newest line on."""
    found = await house.memories.get(who.tenant, memory)
    return StreamingResponse(_rows(house, found), media_type="application/jsonl")


@router.patch("/v1/memories/{memory}/chunks/{chunk}", dependencies=[Depends(needs("sample"))])
async def change_chunk(
    memory: str, chunk: str, body: ChunkBody, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """Other words for it, or a pin set or taken off; with both, the words first."""
    if body.text is None and body.pinned is None:
        raise BadInput("Nothing is to be changed", hint="Send text, pinned, or both.")
    found = await house.memories.get(who.tenant, memory)
    if body.text is not None:
        found = await amending.edit(house, who.tenant, memory, chunk, body.text)
    if body.pinned is not None:
        found = await amending.pin(house, who.tenant, memory, chunk, on=body.pinned)
    return memory_json(found)


@router.delete("/v1/memories/{memory}/chunks/{chunk}", dependencies=[Depends(needs("sample"))])
async def forget_chunk(
    memory: str, chunk: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    return memory_json(await amending.forget_chunk(house, who.tenant, memory, chunk))


@router.post("/v1/memories/{memory}/forget", dependencies=[Depends(needs("sample"))])
async def forget_words(
    memory: str, body: Forget, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    """Every sentence that speaks of it, in the memory and in its ledger."""
    return memory_json(await amending.forget_words(house, who.tenant, memory, body.words))


@router.post("/v1/memories/{memory}/pins", dependencies=[Depends(needs("sample"))])
async def add_pin(
    memory: str, body: Pin, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Json:
    return memory_json(await amending.add_pin(house, who.tenant, memory, body.text))


@router.delete("/v1/memories/{memory}", dependencies=[Depends(needs("sample"))])
async def clear(memory: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    """All of it, its ledger too."""
    await house.memories.drop(who.tenant, memory)
    return {"id": memory, "deleted": True}


def memory_json(found: Shelved) -> Json:
    chunks = [
        {name: value for name, value in msgspec.to_builtins(one).items() if name not in _INSIDE}
        for one in found.memory.chunks
    ]
    return {**_head(found), "chunks": chunks}


_INSIDE = frozenset({"weights", "sentences", "statements", "features"})


def line_json(line: LedgerLine) -> Json:
    """`said` and `turn`: the message that the chunk is of, and the one at which it was decided."""
    found: Json = msgspec.to_builtins(line)
    return {**{name: value for name, value in found.items() if name != "decision"}, **found["decision"]}


def _head(found: Shelved) -> Json:
    head: Json = {name: value for name, value in msgspec.to_builtins(found).items() if name not in ("tenant", "memory")}
    memory = found.memory
    return {**head, "version": memory.version, "tokens": memory.tokens, "turns": memory.turns}


async def _rows(house: House, found: Shelved) -> AsyncGenerator[str]:
    yield _row("memory", _head(found))
    for chunk in memory_json(found)["chunks"]:
        yield _row("chunk", chunk)
    before: int | None = None
    while lines := await house.memories.ledger(found.id, LedgerFilter(), before, _LINES):
        for line in lines:
            yield _row("ledger", line_json(line))
        before = lines[-1].seq


def _row(kind: str, value: Json) -> str:
    return json.dumps({"kind": kind, **value}, ensure_ascii=False) + "\n"
