"""What stands between the marks of tool calls, as each family writes it, read into names and arguments.

Every reader raises ValueError for a body that is not whole; nothing is guessed.
"""

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from anubhav.types.chat import Tool

_T = TypeVar("_T")
_XML_CALL = re.compile(r"<function=([^>\n]+)>(.*?)</function>", re.DOTALL)
_XML_ARGUMENT = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_KIMI_CALL = re.compile(
    r"<\|tool_call_begin\|>\s*(?P<id>(?:functions\.)?(?P<name>[^\s:<]+):\d+)\s*"
    r"<\|tool_call_argument_begin\|>\s*(?P<arguments>.*?)\s*<\|tool_call_end\|>",
    re.DOTALL,
)
_DEEPSEEK_CALL = re.compile(r"<｜tool▁call▁begin｜>(.*?)<｜tool▁sep｜>(.*?)<｜tool▁call▁end｜>", re.DOTALL)
_FENCED = re.compile(r"(?P<name>[^\n]+)\n```(?:json)?\n(?P<arguments>.*?)\n?```", re.DOTALL)
_MISTRAL_CALL = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?\s*(?=\{)")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A call as the model wrote it."""

    name: str
    arguments: str
    id: str | None = None
    """Where the family names its calls itself."""


def read_json(body: str, _: Sequence[Tool]) -> list[Spoken]:
    """`{"name": …, "arguments": {…}}`, a list of those, or several one after the other (Hermes, Qwen, Nemotron)."""
    return [_of_object(value) for value in _values(body)]


def read_functions(body: str, tools: Sequence[Tool]) -> list[Spoken]:
    """`<function=NAME><parameter=KEY>value</parameter></function>` (Qwen3-Coder); JSON is read as well."""
    if body.lstrip().startswith(("{", "[")):
        return read_json(body, tools)
    known = {tool.name: tool for tool in tools}
    found: list[Spoken] = []
    for name, inside in _XML_CALL.findall(body):
        types = _types(known.get(name.strip()))
        arguments = {key.strip(): _typed(value, types.get(key.strip())) for key, value in _XML_ARGUMENT.findall(inside)}
        found.append(Spoken(name.strip(), json.dumps(arguments, ensure_ascii=False)))
    return _some(found)


def read_python(body: str, _: Sequence[Tool]) -> list[Spoken]:
    """`[name(key=value), …]`, or one call in a `print(…)`; values are literals (Llama 4, Gemma's tool_code)."""
    try:
        parsed = ast.parse(body.strip(), mode="eval").body
        calls = parsed.elts if isinstance(parsed, ast.List | ast.Tuple) else [parsed]
        return _some([_of_python(call) for call in calls])
    except (SyntaxError, RecursionError, MemoryError) as problem:
        raise ValueError("no call in Python's notation") from problem


def read_kimi(body: str, _: Sequence[Tool]) -> list[Spoken]:
    """Kimi K2's: its ids, `functions.NAME:N`, are what its template expects back."""
    found = [Spoken(one["name"], _checked(one["arguments"]), one["id"]) for one in _KIMI_CALL.finditer(body)]
    return _some(found)


def read_deepseek(body: str, _: Sequence[Tool]) -> list[Spoken]:
    """DeepSeek V3 and R1 (`function<sep>NAME` and a fenced object) and V3.1 (`NAME<sep>{…}`)."""
    found: list[Spoken] = []
    for before, after in _DEEPSEEK_CALL.findall(body):
        fenced = _FENCED.fullmatch(after.strip())
        if fenced:
            found.append(Spoken(fenced["name"].strip(), _checked(fenced["arguments"])))
        else:
            found.append(Spoken(before.strip(), _checked(after)))
    return _some(found)


def read_mistral(body: str, tools: Sequence[Tool]) -> list[Spoken]:
    """Mistral's: a list of objects, or `NAME[ARGS]{…}` one after the other."""
    if body.lstrip().startswith("["):
        return read_json(body, tools)
    found: list[Spoken] = []
    at, decoder = 0, json.JSONDecoder()
    while match := _MISTRAL_CALL.match(body, at):
        _, at = decoder.raw_decode(body, match.end())
        found.append(Spoken(match[1], body[match.end() : at]))
        at += len("[TOOL_CALLS]") if body.startswith("[TOOL_CALLS]", at) else 0
    if body[at:].strip():
        raise ValueError("more than calls")
    return _some(found)


def _of_object(value: Any) -> Spoken:
    """`parameters` is what Llama 3 calls the arguments."""
    if not isinstance(value, dict):
        raise ValueError("a call is an object")
    fields = cast(dict[str, Any], value)
    inner = cast(dict[str, Any], fields["function"]) if isinstance(fields.get("function"), dict) else fields
    name, arguments = inner.get("name"), inner.get("arguments", inner.get("parameters", {}))
    if not isinstance(name, str) or not name:
        raise ValueError("a call has a name")
    if isinstance(arguments, str):
        return Spoken(name, _checked(arguments))
    if not isinstance(arguments, dict):
        raise ValueError("arguments are an object")
    return Spoken(name, json.dumps(arguments, ensure_ascii=False))


def _of_python(node: ast.expr) -> Spoken:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print" and node.args:
        node = node.args[0]
    if not isinstance(node, ast.Call) or node.args or any(key.arg is None for key in node.keywords):
        raise ValueError("a call names its arguments")
    arguments = {str(key.arg): ast.literal_eval(key.value) for key in node.keywords}
    try:
        return Spoken(ast.unparse(node.func), json.dumps(arguments, ensure_ascii=False))
    except TypeError as problem:
        raise ValueError("arguments are what JSON can say") from problem


def _values(body: str) -> Iterable[Any]:
    """JSON values one after the other, between them nothing but blanks, commas and semicolons; lists are opened."""
    decoder, at, found = json.JSONDecoder(), 0, list[Any]()
    while at < len(body):
        if body[at] in " \t\r\n,;":
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(body, at)
        except RecursionError as problem:
            raise ValueError("nested too deeply") from problem
        found += cast(list[Any], value) if isinstance(value, list) else [value]
    return _some(found)


def _checked(arguments: str) -> str:
    """An object's JSON as it was written; nothing at all is an empty one."""
    text = arguments.strip() or "{}"
    try:
        if not isinstance(json.loads(text), dict):
            raise ValueError("arguments are an object")
    except RecursionError as problem:
        raise ValueError("nested too deeply") from problem
    return text


def _some(found: list[_T]) -> list[_T]:
    if not found:
        raise ValueError("no call")
    return found


def _types(tool: Tool | None) -> Mapping[str, str]:
    schema: Any = json.loads(tool.parameters) if tool else {}
    properties = cast(dict[str, Any], schema).get("properties") if isinstance(schema, dict) else None
    known = cast(dict[str, Any], properties) if isinstance(properties, dict) else {}
    return {
        name: str(cast(dict[str, Any], one).get("type", "")) for name, one in known.items() if isinstance(one, dict)
    }


def _typed(text: str, kind: str | None) -> Any:
    """A string stays text; anything else is JSON where it can be read as such."""
    if kind == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
