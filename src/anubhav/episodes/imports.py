"""Imports: what people said and thought elsewhere, as OpenAI-style JSONL, Langfuse's and OpenTelemetry's exports have
it, read into conversations with their answers and judgements.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from anubhav.episodes.otel import is_otel, spans_of, unfold
from anubhav.episodes.recorder import Given
from anubhav.errors import BadInput
from anubhav.types.chat import Message, Role, ToolCall

Json = Mapping[str, Any]
_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "ai": "assistant", "model": "assistant", "tool": "tool",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Brought:
    """One conversation from elsewhere with what was answered last: several answers where they were compared."""

    key: str
    """Made of the content: the same record again is the same conversation."""
    source: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    judgements: tuple[Given, ...]
    """Their targets are the numbers of answers; the loser of a comparison too."""
    session: str | None = None
    user: str | None = None


def read(record: Any) -> list[Brought]:
    """What one line holds; nothing where it holds no answered conversation. Raises BadInput for what is no record."""
    if not isinstance(record, dict):
        raise BadInput("A record is a JSON object", hint="Write one object a line.")
    one = cast(Json, record)
    if is_otel(one):
        found = [_brought("otel", span) for span in map(unfold, spans_of(one))]
    elif isinstance(one.get("observations"), list):
        found = [_brought("langfuse", _of_trace(one, inner)) for inner in _objects(one["observations"])]
    elif "messages" not in one and "output" in one:
        found = [_brought("langfuse", one)]
    elif "preferred_output" in one:
        found = [_preferred(one)]
    else:
        found = [_brought("openai", one)]
    return [brought for brought in found if brought]


def name_of(tenant: str, alias: str, brought: Brought) -> str:
    """The id of the episode it becomes: always the same one."""
    return f"ep_{hashlib.sha256(f'{tenant} {alias} {brought.key}'.encode()).hexdigest()[:26]}"


def _of_trace(trace: Json, observation: Json) -> Json:
    """A trace's scores are of its last generation, where they name no other."""
    mine = [
        score for score in _objects(trace.get("scores")) if score.get("observationId") in (None, observation.get("id"))
    ]
    whose = {"sessionId": trace.get("sessionId"), "userId": trace.get("userId")}
    return {**whose, **observation, "scores": [*_objects(observation.get("scores")), *mine]}


def _brought(source: str, one: Json) -> Brought | None:
    if one.get("type", "GENERATION") not in ("GENERATION", "generation", "trace", "chat"):
        return None
    messages, answer = _conversation(one)
    if not messages or not answer:
        return None
    judgements = [*_feedback(one.get("feedback")), *filter(None, map(_score, _objects(one.get("scores"))))]
    return _made(source, one, messages, (answer,), tuple(judgements))


def _preferred(one: Json) -> Brought | None:
    """OpenAI's preference format."""
    messages = _messages(_object(one.get("input")).get("messages"))
    answers = tuple(
        answered[-1].content
        for name in ("preferred_output", "non_preferred_output")
        if (answered := _messages(one.get(name)))
    )
    if not messages or len(answers) != 2:
        return None
    return _made("openai", one, messages, answers, (Given("0", "comparison", "1"),))


def _made(
    source: str, one: Json, messages: tuple[Message, ...], answers: tuple[str, ...], judgements: tuple[Given, ...]
) -> Brought:
    key = hashlib.sha256(json.dumps(one, sort_keys=True, default=str).encode()).hexdigest()[:24]
    metadata = _object(one.get("metadata"))
    session = _name(one.get("session_id"), one.get("session"), one.get("sessionId"), metadata.get("session_id"))
    user = _name(one.get("user"), one.get("userId"), one.get("user_id"), metadata.get("user_id"))
    return Brought(key, source, messages, answers, judgements, session, user)


def _conversation(one: Json) -> tuple[tuple[Message, ...], str]:
    """(what was asked, the answer). A conversation without an output ends in its answer."""
    if "messages" in one and "output" not in one:
        spoken = _messages(one["messages"])
        return (spoken[:-1], spoken[-1].content) if spoken and spoken[-1].role == "assistant" else ((), "")
    asked, said = one.get("input"), one.get("output")
    inner = _object(asked).get("messages", asked)
    messages = (Message("user", inner),) if isinstance(inner, str) else _messages(inner)
    return messages, _said(said)


def _said(output: Any) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, list) and (found := _messages(cast(Any, output))):
        return found[-1].content
    known = _object(output)
    choices = _objects(known.get("choices"))
    return _text(_object(choices[0].get("message")).get("content") if choices else known.get("content"))


def _messages(value: Any) -> tuple[Message, ...]:
    return tuple(_message(one) for one in _objects(value))


def _message(one: Json) -> Message:
    role = _ROLES.get(str(one.get("role", "")))
    if role is None:
        raise BadInput(f"A message has the role {str(one.get('role'))[:50]!r}", hint=f"Use {', '.join(_ROLES)}.")
    calls = tuple(map(_call, _objects(one.get("tool_calls"))))
    return Message(role, _text(one.get("content")), _name(one.get("name")), calls, _name(one.get("tool_call_id")))


def _call(one: Json) -> ToolCall:
    function = _object(one.get("function")) or one
    arguments: Any = function.get("arguments", "{}")
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(str(one.get("id") or ""), str(function.get("name") or ""), written)


def _feedback(value: Any) -> Iterable[Given]:
    """As POST /v1/feedback takes it, without a target."""
    for one in [cast(Json, value)] if isinstance(value, dict) else _objects(value):
        yield Given("0", str(one.get("kind")), one.get("value"), one.get("text"), _name(one.get("rater")))


def _score(one: Json) -> Given | None:
    """Langfuse's scores: true and false are thumbs, numbers from 0 to 1 ratings; others say nothing here."""
    value, kind = one.get("value"), str(one.get("dataType", "")).upper()
    if not isinstance(value, int | float) or not 0 <= value <= 1 or kind == "CATEGORICAL":
        return None
    thumb = kind == "BOOLEAN" or isinstance(value, bool)
    said = _name(one.get("comment"), one.get("name"))
    rater = _name(one.get("authorUserId"))
    return Given("0", "thumb", bool(value), said, rater) if thumb else Given("0", "rating", float(value), said, rater)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or part.get("content") or "") for part in _objects(cast(Any, content)))
    return content if isinstance(content, str) else ""


def _name(*names: Any) -> str | None:
    return next((name[:200] for name in names if isinstance(name, str) and name), None)


def _object(value: Any) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Json]:
    return (
        [cast(Json, one) for one in cast(list[Any], value) if isinstance(one, dict)] if isinstance(value, list) else []
    )
