"""What a client sent without what it said: shapes that may be kept, of requests that may not.

Protocol words stay (types, roles, settings), and so do numbers and lengths. Free text becomes `~LENGTH`, which the
replay makes filler of; names of tools, of their arguments and ids become numbered ones, the same wherever they recur.
"""

import json
from typing import Any

_HEADERS = ("anthropic-beta", "anthropic-version", "content-type")
_NAMED = ("session-id", "x-claude-code-session-id", "x-session-affinity", "x-session-id")
_WORDS = frozenset({
    "type", "role", "effort", "summary", "status", "verbosity", "format", "syntax", "ttl", "tool_choice", "include",
    "phase", "keep", "$schema",
})  # fmt: skip
"""Keys under which the protocol's own words stand."""
_IDS = frozenset({"id", "call_id", "tool_call_id", "tool_use_id", "session_id", "thread_id", "turn_id", "device_id"})
_SCHEMAS = ("parameters", "input_schema")
_ARGUMENTS = ("arguments", "input")


class Scrubber:
    """Of one recording: what is the same there is the same in its shapes."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        kept = {name: headers[name] for name in _HEADERS if name in headers}
        return kept | {name: self._name("id", headers[name]) for name in _NAMED if name in headers}

    def body(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key in _SCHEMAS:
                return self._schema(value)
            if key in _ARGUMENTS:
                return self._arguments(value)
            return {name: self.body(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.body(inner, key if isinstance(inner, str) else "") for inner in value]
        return self._text(value, key) if isinstance(value, str) else value

    def _text(self, text: str, key: str) -> str:
        if key == "model":
            return "tiny"
        if key in _WORDS:
            return text
        if key in _IDS:
            return self._name("id", text)
        if key == "name":
            return self._name("tool", text)
        try:
            inside = json.loads(text)
        except ValueError:
            inside = None
        if isinstance(inside, dict):
            return json.dumps(self._arguments(inside) if key in _ARGUMENTS else self.body(inside))
        return f"~{len(text)}"

    def _schema(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._schema(one) for one in node]
        if not isinstance(node, dict):
            return f"~{len(node)}" if isinstance(node, str) else node
        return {key: self._part(key, value) for key, value in node.items()}

    def _part(self, key: str, value: Any) -> Any:
        if key in ("type", "format", "$schema"):
            return value
        if key in ("properties", "$defs", "definitions", "patternProperties"):
            return {self._name("field", name): self._schema(inner) for name, inner in value.items()}
        if key == "required":
            return [self._name("field", name) for name in value]
        if key == "enum":
            return [f"choice_{place}" if isinstance(one, str) else one for place, one in enumerate(value)]
        return self._schema(value)

    def _arguments(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._name("field", name): self._arguments(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._arguments(one) for one in value]
        return "a" * len(value) if isinstance(value, str) else value

    def _name(self, kind: str, given: str) -> str:
        known = sum(1 for one, _ in self._names if one == kind)
        return self._names.setdefault((kind, given), f"{kind}_{known + 1}")
