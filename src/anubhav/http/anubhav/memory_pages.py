"""The memory page: whose memories there are, what one holds, how much of its budget each state takes, and why."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from anubhav.http.anubhav.pages import moment, render
from anubhav.types.memory import Chunk
from anubhav.types.remembering import LedgerLine, Shelved

Json = dict[str, Any]
_STATES = ("pinned", "open question", "whole", "shortened")


def list_page(found: Sequence[Shelved]) -> str:
    return render("memory.html", memories=[_head(one) for one in found], memory=None)


def memory_page(found: Shelved, lines: Sequence[LedgerLine]) -> str:
    return render(
        "memory.html",
        memories=[],
        memory=_head(found),
        bar=_bar(found),
        chunks=[_chunk(chunk) for chunk in found.memory.chunks],
        lines=[_line(line) for line in lines],
    )


def _head(found: Shelved) -> Json:
    memory = found.memory
    return {
        "id": found.id,
        "who": f"{found.scope} {found.key}",
        "tenant": found.tenant,
        "model": found.base_model,
        "held": f"{memory.tokens} of {found.budget} tokens",
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
        "tokens": f"{chunk.tokens} of {chunk.whole}" if chunk.tokens < chunk.whole else f"{chunk.tokens}",
        "state": _state(chunk),
        "mark": _state(chunk).split()[0],
        "score": f"{chunk.score:.2f}",
        "turn": chunk.turn if chunk.turn >= 0 else "by hand",
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
        "episode": line.episode or "by hand",
    }
