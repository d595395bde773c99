"""Forcing: the grammar that holds a reply to calls of certain tools, in the form its model was taught to write them.

Arguments are held to the tool's schema. The notation is llguidance's: marks that are control tokens stand bare in it,
all other text in quotes.
"""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any, cast

from anubhav.errors import BadInput
from anubhav.rendering.speech.dialects import NUMBER, Dialect
from anubhav.types.chat import Tool
from anubhav.types.sampling import Grammar


def force(
    dialect: Dialect, tools: Sequence[Tool], controls: Collection[str], *, several: bool, thinking: bool
) -> Grammar:
    """Only calls of these tools, at least one. `controls`: the control tokens of the model.

    `thinking`: the prompt has opened a thought, which is let come to its end first.
    """
    rules = [f"start: {'thought BLANK ' if thinking and dialect.thinks else ''}calls"]
    if thinking and dialect.thinks:
        rules += [_until("thought", dialect.thinks[1], controls), r"BLANK: /\s*/"]
    return _grammar([*rules, *_calls(dialect, tools, controls, dialect.form.opens, several=several)])


def either(dialect: Dialect, tools: Sequence[Tool], controls: Collection[str], schema: str) -> Grammar:
    """Calls of these tools, or JSON of this schema."""
    rules = ["start: calls | answer", f"answer: %json {schema}"]
    return _grammar([*rules, *_calls(dialect, tools, controls, dialect.form.opens, several=True)])


def guard(dialect: Dialect, tools: Sequence[Tool], controls: Collection[str]) -> Grammar | None:
    """Any text, and calls in it are held to their tools' schemas; None where no mark parts text from calls."""
    section, opens = dialect.sections[0], dialect.form.opens
    if section.begins or not section.close or not opens.startswith(section.open):
        return None
    rules = ["start: (text calls)* REST", _until("text", section.open, controls)]
    rest = opens.removeprefix(section.open)
    return _grammar([*rules, *_calls(dialect, tools, controls, rest, several=True)])


def _grammar(rules: Sequence[str]) -> Grammar:
    return Grammar("lark", "\n".join([*rules, "REST: /(?s:.*)/"]))


def _until(rule: str, mark: str, controls: Collection[str]) -> str:
    """Any text up to the first of these marks."""
    return f"{rule}: REST {mark}" if mark in controls else f"{rule}[lazy]: REST {json.dumps(mark)}"


def _calls(
    dialect: Dialect, tools: Sequence[Tool], controls: Collection[str], opens: str, *, several: bool
) -> list[str]:
    form = dialect.form
    more = f" ({_text(form.parts, controls)} call)*" if several else ""
    rules = [
        f"calls: {_text(opens, controls)} call{more} {_text(form.closes, controls)}",
        "call: " + " | ".join(f"call_{place}" for place in range(len(tools))),
    ]
    for place, tool in enumerate(tools):
        head, tail = _text(form.before + tool.name + form.middle, controls), _text(form.after, controls)
        rules.append(f"call_{place}: {head} %json {_schema(tool)} {tail}")
    return rules


def _text(text: str, controls: Collection[str]) -> str:
    """In the grammar's notation."""
    names = "|".join(re.escape(name) for name in sorted(controls, key=len, reverse=True) if name in text)
    parts = re.split(f"({names}|{NUMBER})" if names else f"({NUMBER})", text)
    return " ".join(_part(part, controls) for part in parts if part)


def _part(part: str, controls: Collection[str]) -> str:
    if part == NUMBER:
        return "/[0-9]+/"
    return part if part in controls else json.dumps(part, ensure_ascii=False)


def _schema(tool: Tool) -> str:
    """Spaced as templates write JSON, so that a model is not held to a form it never saw. What the grammar cannot hold
    a strict tool to is refused, what it cannot hold others to is left open."""
    try:
        schema: Any = json.loads(tool.parameters)
    except (ValueError, RecursionError) as problem:
        raise BadInput(f"The parameters of {tool.name[:100]} are no JSON", hint="Send a JSON schema.") from problem
    if not isinstance(schema, dict):
        raise BadInput(f"The parameters of {tool.name[:100]} are no object", hint="Send a JSON schema.")
    form = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": not tool.strict}
    return json.dumps({"type": "object", **cast(dict[str, Any], schema), "x-guidance": form})
