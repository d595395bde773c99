"""Echoes: messages told again as the items of the Responses API, and items as the entries of a conversation."""

import time
from collections.abc import Sequence
from typing import Any

from anubhav.http.blocks import Block
from anubhav.types.chat import Message, ToolCall
from anubhav.types.ids import new_id
from anubhav.types.talks import Entry

Json = dict[str, Any]


def parts_of(message: Message) -> list[Message]:
    """A turn's words and calls as messages of their own. Its thought is left out, as it is no turn."""
    words = [Message(message.role, message.content, message.name, tool_call_id=message.tool_call_id)]
    calls = [Message("assistant", "", tool_calls=(call,)) for call in message.tool_calls]
    return (words if message.content or message.role == "tool" else []) + calls


def prefix_of(message: Message) -> str:
    if message.role == "tool":
        return "fco"
    return "fc" if message.tool_calls else "rs" if message.reasoning and not message.content else "msg"


def item_of(name: str, message: Message) -> Json:
    """Of a message that is one part of a turn."""
    base: Json = {"id": name, "status": "completed"}
    kind = prefix_of(message)
    if kind == "fco":
        told = {"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}
        return base | told
    if kind == "fc":
        call = message.tool_calls[0]
        return base | {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
    if kind == "rs":
        content = [{"type": "reasoning_text", "text": message.reasoning}]
        return base | {"type": "reasoning", "summary": [], "content": content}
    part: Json = {"type": "input_text", "text": message.content}
    if message.role == "assistant":
        part = {"type": "output_text", "text": message.content, "annotations": [], "logprobs": []}
    return base | {"type": "message", "role": message.role, "content": [part]}


def entries_of(messages: Sequence[Message], episode: str | None = None) -> list[Entry]:
    """Of what somebody sent, each under a new name."""
    now = time.time()
    return [Entry(new_id(prefix_of(one)), one, now, episode) for one in messages]


def entry_of(name: str, block: Block, episode: str) -> Entry:
    """Of what was said."""
    if block.call:
        call = ToolCall(block.call.id, block.call.name, block.text)
        message = Message("assistant", "", tool_calls=(call,))
    elif block.kind == "thought":
        message = Message("assistant", "", reasoning=block.text)
    else:
        message = Message("assistant", block.text)
    return Entry(name, message, time.time(), episode)
