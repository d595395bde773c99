"""Offering: how a model is told which tools there are. By its own template where that knows tools, else in words."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anubhav.types.chat import Message, Tool

_TOLD = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
"""Hermes' words, as Qwen's templates have them: what most models that know tools were taught."""


def offered(messages: Sequence[Message]) -> tuple[Tool, ...]:
    """The tools of a conversation; of two with one name the later one."""
    return tuple({tool.name: tool for message in messages for tool in message.tools}.values())


def declare(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """As templates take them."""
    return [
        {
            "type": "function",
            "function": {"name": one.name, "description": one.description, "parameters": json.loads(one.parameters)},
        }
        for one in tools
    ]


def tell(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """The conversation with the tools in its system message, for a template that does not know them."""
    told = _TOLD.format(tools="\n".join(json.dumps(one, ensure_ascii=False) for one in declare(tools)))
    spoken = spoken_of(messages)
    if spoken and spoken[0].role == "system":
        return [replace(spoken[0], content=f"{spoken[0].content}\n\n{told}"), *spoken[1:]]
    return [Message("system", told), *spoken]


def spoken_of(messages: Sequence[Message]) -> list[Message]:
    """Without the messages that only brought tools."""
    return [one for one in messages if one.content or not one.tools]
