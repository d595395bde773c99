"""The memory page: whose memories there are, what one holds, how much of its budget each state takes, and why."""

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from anubhav.flows.house import House
from anubhav.http.console.language import gettext, gettext_noop
from anubhav.http.console.page import Page, show
from anubhav.http.console.words import moment
from anubhav.http.entrance import house_of
from anubhav.types.memory import Chunk
from anubhav.types.remembering import LedgerFilter, LedgerLine, Shelved

router = APIRouter(route_class=Page)
Json = dict[str, Any]
_SHOWN = 200
_STATES = (
    gettext_noop("pinned"), gettext_noop("open question"), gettext_noop("whole"), gettext_noop("shortened"),
)  # fmt: skip


@router.get("/memory")
async def page(id: Annotated[str | None, Query(max_length=200)] = None, house: House = Depends(house_of)) -> Response:
    """The operator's, of every tenant."""
    if id is None:
        found = [_head(one) for one in await house.memories.list_of(None, limit=_SHOWN)]
        return await show(house, "memory.html", "/memory", memories=found, memory=None)
    one = await house.memories.get(None, id)
    lines = [_line(line) for line in await house.memories.ledger(one.id, LedgerFilter(), None, _SHOWN)]
    chunks = [_chunk(chunk) for chunk in one.memory.chunks]
    return await show(
        house, "memory.html", "/memory", memories=[], memory=_head(one), bar=_bar(one), chunks=chunks, lines=lines
    )


def _head(found: Shelved) -> Json:
    memory = found.memory
    return {
        "id": found.id,
        "who": f"{found.scope} {found.key}",
        "tenant": found.tenant,
        "model": found.base_model,
        "held": gettext("{count} of {budget} tokens", count=memory.tokens, budget=found.budget),
        "chunks": len(memory.chunks),
        "turns": memory.turns,
        "version": memory.version,
        "when": moment(found.updated_at),
    }


def _bar(found: Shelved) -> list[Json]:
    """Parts of the budget, in hundredths of it."""
    held = Counter[str]()
    for chunk in found.memory.chunks:
        held[_state(chunk)] += chunk.tokens
    parts: list[Json] = []
    at = 0.0
    for state in _STATES:
        width = 100 * held[state] / max(found.budget, found.memory.tokens, 1)
        parts.append({
            "state": state, "mark": state.split()[0], "tokens": held[state], "x": f"{at:.2f}", "width": f"{width:.2f}",
        })  # fmt: skip
        at += width
    return parts


def _state(chunk: Chunk) -> str:
    if chunk.pin:
        return "pinned"
    if chunk.open:
        return "open question"
    return "shortened" if chunk.tokens < chunk.whole else "whole"


def _chunk(chunk: Chunk) -> Json:
    return {
        "id": chunk.id,
        "role": chunk.role,
        "text": chunk.text,
        "tokens": gettext("{count} of {whole}", count=chunk.tokens, whole=chunk.whole)
        if chunk.tokens < chunk.whole
        else f"{chunk.tokens}",
        "state": _state(chunk),
        "mark": _state(chunk).split()[0],
        "score": f"{chunk.score:.2f}",
        "turn": chunk.turn if chunk.turn >= 0 else gettext("by hand"),
        "when": moment(chunk.at),
    }


def _line(line: LedgerLine) -> Json:
    told = line.decision
    return {
        "when": moment(line.created_at),
        "version": line.version,
        "act": told.act,
        "before": told.before,
        "after": told.after if told.after != told.before else "",
        "why": told.why,
        "score": f"{told.score:.2f}",
        "budget": told.budget,
        "chunk": told.chunk,
        "episode": line.episode or gettext("by hand"),
    }
