"""Who talks and in which session, as applications already say it: read from headers and bodies, never guessed.

The order is that of docs/loop-episodes.md. Names are the word of whoever holds the key, so they count in its tenant
alone.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from anubhav.errors import BadInput
from anubhav.flows.questions import Question
from anubhav.http.fields import Spoken
from anubhav.http.memories import memory_use
from anubhav.types.experience import Turn
from anubhav.types.remembering import MemoryUse

_LONGEST = 200
_SIDE = re.compile(
    r"\btitle generator\b"
    r"|(?:generate|provide|create|write|suggest) an? (?:short|concise|brief|clear|\d-word|\d-\d word)[^.\n]{0,40}"
    r"\btitle\b"
    r"|conversation title|### task:\s*(?:generate|suggest)|1-3 broad tags"
    r"|(?:create|write|provide|produce) (?:a |an |detailed |concise |brief |handoff )*summary of (?:the|this|our) "
    r"(?:conversation|chat)|context checkpoint compaction",
    re.IGNORECASE,
)
"""How title, tag, follow-up and summary generators of known clients begin (opencode, Open WebUI, LibreChat, Codex)."""
_HINTS = ("title", "### task", "broad tags", "summary of", "compaction")
"""One of these is in whatever `_SIDE` finds: looking for them costs a tenth."""
_READ = 2000
"""Characters at the beginning of a message that are looked at."""


@dataclass(frozen=True, slots=True)
class Identity:
    session: str | None = None
    user: str | None = None
    turn: Turn = "main"
    trainable: bool = True
    kept: bool = True
    """False: nothing of it is recorded."""
    memory: MemoryUse | None = None

    def asks(self, question: Question) -> Question:
        """The question, as theirs."""
        return replace(
            question, session=self.session, user=self.user, turn=self.turn, trainable=self.trainable, kept=self.kept,
            memory=self.memory,
        )  # fmt: skip


def identify(headers: Mapping[str, str], body: Spoken, texts: Iterable[tuple[str, str]]) -> Identity:
    """`texts`: (role, content) of the messages.

    Raises BadInput for an X-Turn-Type, X-Anubhav-Train or X-Anubhav-Memory that says nothing known.
    """

    metadata, client = _mapping(body.metadata), _mapping(body.client_metadata)
    session = _first(
        headers.get("x-session-id"), body.session_id, metadata.get("session_id"),
        _mapping(body.conversation).get("id") or body.conversation, client.get("session_id"), client.get("thread_id"),
        headers.get("x-claude-code-session-id"), headers.get("x-session-affinity"), headers.get("x-openwebui-chat-id"),
        body.prompt_cache_key,
    )  # fmt: skip
    user = _first(
        body.user, body.safety_identifier, _person(metadata.get("user_id")), headers.get("x-openwebui-user-id"),
        headers.get("x-openwebui-user-email"),
    )  # fmt: skip
    trains = _choice(headers.get("x-anubhav-train"), "X-Anubhav-Train", ("yes", "no")) != "no"
    turn = _choice(headers.get("x-turn-type"), "X-Turn-Type", ("main", "side")) or _usual_turn(texts)
    memory = memory_use(body.memory, headers.get("x-anubhav-memory"))
    return Identity(session, user, "side" if turn == "side" else "main", trains, body.store is not False, memory)


def _usual_turn(texts: Iterable[tuple[str, str]]) -> Turn:
    """Side for a generator of titles and the like, by its instructions or by the only thing it is asked."""
    spoken = list(texts)
    asked = [text for role, text in spoken if role == "user"]
    told = [text for role, text in spoken if role in ("system", "developer")] + asked[:1] * (len(asked) == 1)
    return "side" if any(_is_side(text[:_READ]) for text in told) else "main"


def _is_side(text: str) -> bool:
    lowered = text.lower()
    return any(hint in lowered for hint in _HINTS) and _SIDE.search(text) is not None


def _first(*names: Any) -> str | None:
    found = next((name.strip() for name in names if isinstance(name, str) and name.strip()), None)
    if found is None or len(found) <= _LONGEST:
        return found
    return f"{found[:100]}…{hashlib.sha256(found.encode()).hexdigest()[:32]}"


def _person(name: Any) -> Any:
    """Claude Code's name holds the session too, so that the whole of it would be somebody else every time."""
    if not isinstance(name, str) or not name.startswith("{"):
        return name
    try:
        found = _mapping(json.loads(name))
    except (ValueError, RecursionError):
        return name
    return found.get("account_uuid") or found.get("device_id") or name


def _choice(given: str | None, header: str, known: tuple[str, str]) -> str | None:
    said = given.strip().lower() if given else None
    if said and said not in known:
        raise BadInput(f"{header} is {given[:50] if given else ''!r}", hint=f"Send {known[0]} or {known[1]}.")
    return said or None


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}
