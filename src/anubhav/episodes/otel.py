"""OpenTelemetry's spans of generations as plain records: the GenAI semantic conventions (`gen_ai.input.messages`) and
the numbered attributes that came before them (`gen_ai.prompt.0.content`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

Json = Mapping[str, Any]
_NUMBERED = re.compile(r"gen_ai\.(prompt|completion)\.(\d+)\.(role|content)")


def is_otel(record: Json) -> bool:
    return (
        "resourceSpans" in record or "resource_spans" in record or ("attributes" in record and "messages" not in record)
    )


def spans_of(record: Json) -> Iterator[Json]:
    """A file's line is a span, or an envelope of many."""
    resources = record.get("resourceSpans") or record.get("resource_spans")
    if resources is None:
        yield record
        return
    for resource in _objects(resources):
        for scope in _objects(resource.get("scopeSpans") or resource.get("scope_spans")):
            yield from _objects(scope.get("spans"))


def unfold(span: Json) -> Json:
    """As a record of an input, an output and scores; without an output where the span is no generation."""
    known = _attributes(span.get("attributes"))
    asked, said = _loaded(known.get("gen_ai.input.messages")), _loaded(known.get("gen_ai.output.messages"))
    if not said:
        asked, said = _numbered(known)
    told = _loaded(known.get("gen_ai.system_instructions"))
    system = [{"role": "system", "content": _words(told)}] if told else []
    return {
        "id": span.get("spanId") or span.get("span_id"),
        "input": [*system, *map(_message, asked)],
        "output": [_message(one) for one in said],
        "scores": list(_scores(span)),
        "session_id": known.get("gen_ai.conversation.id") or known.get("session.id"),
        "user": known.get("enduser.id") or known.get("user.id"),
    }


def _message(one: Json) -> Json:
    parts = _objects(one.get("parts"))
    if not parts:
        return one
    calls = [
        {"id": part.get("id"), "function": {"name": part.get("name"), "arguments": part.get("arguments", {})}}
        for part in parts
        if part.get("type") == "tool_call"
    ]
    results = [part for part in parts if part.get("type") == "tool_call_response"]
    found: dict[str, Any] = {"role": one.get("role"), "content": _words(parts)}
    if results:
        answer = results[0].get("result", results[0].get("response"))
        found["content"] = answer if isinstance(answer, str) else json.dumps(answer)
        found["tool_call_id"] = results[0].get("id")
    return found | ({"tool_calls": calls} if calls else {})


def _words(parts: list[Json]) -> str:
    return "".join(str(part.get("content", "")) for part in parts if part.get("type", "text") == "text")


def _numbered(known: Json) -> tuple[list[Json], list[Json]]:
    found: dict[str, dict[int, dict[str, Any]]] = {"prompt": {}, "completion": {}}
    for name, value in known.items():
        if match := _NUMBERED.fullmatch(name):
            found[match[1]].setdefault(int(match[2]), {"role": "assistant"})[match[3]] = value
    return tuple([one for _, one in sorted(side.items())] for side in found.values())  # pyright: ignore[reportReturnType]


def _scores(span: Json) -> Iterator[Json]:
    for event in _objects(span.get("events")):
        known = _attributes(event.get("attributes"))
        if event.get("name") == "gen_ai.evaluation.result":
            name, value = known.get("gen_ai.evaluation.name"), known.get("gen_ai.evaluation.score.value")
            yield {"name": name, "value": value, "comment": known.get("gen_ai.evaluation.explanation")}


def _attributes(value: Any) -> dict[str, Any]:
    """A mapping, or OTLP's list of keys with typed values."""
    if isinstance(value, dict):
        return cast(dict[str, Any], value)
    return {str(one.get("key")): _value(one.get("value")) for one in _objects(value)}


def _value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(cast(dict[str, Any], value).items()), ("", None))
    return int(inner) if kind == "intValue" and isinstance(inner, str) else inner


def _loaded(value: Any) -> list[Json]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    return _objects(value)


def _objects(value: Any) -> list[Json]:
    return (
        [cast(Json, one) for one in cast(list[Any], value) if isinstance(one, dict)] if isinstance(value, list) else []
    )
