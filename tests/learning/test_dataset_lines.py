"""Lines of training files: what is learned of them, and what is told of those that cannot be."""

import json
from typing import Any

import pytest

from anubhav.errors import BadInput
from anubhav.learning.lines import read_chat, read_preference
from anubhav.types.chat import Tool

USER, SAID = {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}
CALL = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


def line(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_answers_are_learned_but_those_of_weight_0() -> None:
    chat = read_chat(line({"messages": [USER, {**SAID, "weight": 0}, USER, {**SAID, "weight": 1}, USER, SAID]}))
    assert chat.learned == (3, 5)
    assert [one.role for one in chat.messages] == ["user", "assistant"] * 3


def test_tools_come_first_and_calls_are_answers() -> None:
    result = {"role": "tool", "tool_call_id": "c", "content": "4"}
    chat = read_chat(line({"messages": [USER, CALL, result, SAID], "tools": [TOOL], "parallel_tool_calls": False}))
    assert chat.messages[0].tools == (Tool("f", "d", '{"type": "object"}'),)
    assert chat.learned == (2, 4)
    assert chat.messages[2].tool_calls[0].name == "f"
    assert chat.messages[3].tool_call_id == "c"


def test_a_preference_is_two_answers_to_one_chat() -> None:
    parts = {"role": "assistant", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]}
    made = {"input": {"messages": [{"role": "developer", "content": "s"}, USER]}, "preferred_output": [SAID]}
    found = read_preference(line({**made, "non_preferred_output": [parts], "note": 1}))
    assert [one.role for one in found.messages] == ["system", "user"]
    assert (found.chosen.content, found.rejected.content) == ("a", "bc")


@pytest.mark.parametrize(
    ("chat", "says"),
    [
        ([], "array"),
        ({}, "messages"),
        ({"messages": [USER]}, "assistant"),
        ({"messages": [USER, {**SAID, "weight": 0}]}, "weight"),
        ({"messages": [USER, {**SAID, "weight": 0.5}]}, "weight"),
        ({"messages": [SAID]}, "begins"),
        ({"messages": [USER, {"role": "assistant"}]}, "no content"),
        ({"messages": [{**CALL, "role": "user"}, SAID]}, "tool_calls"),
        ({"messages": [USER, {"role": "tool", "content": "x"}, SAID]}, "tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, SAID]}, "image_url"),
        ({"messages": [USER, SAID], "functions": [{"name": "f"}]}, "functions"),
        ({"messages": [USER, SAID], "tools": [{"type": "web_search"}]}, "web_search"),
    ],
)
def test_a_chat_that_cannot_be_learned_is_refused(chat: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_chat(line(chat))


@pytest.mark.parametrize(
    "data", [b"{", b"\xff\xfe{}", b'{"messages": [{"role": "user", "content": "\xff"}]}', b"[" * 5000]
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        read_chat(data)


def test_a_preference_needs_one_answer_on_each_side() -> None:
    for outputs in ([], [USER], [SAID, SAID]):
        made = {"input": {"messages": [USER]}, "preferred_output": outputs, "non_preferred_output": [SAID]}
        with pytest.raises(BadInput, match="preferred_output"):
            read_preference(line(made))
    with pytest.raises(BadInput, match="empty"):
        read_preference(line({"input": {"messages": []}, "preferred_output": [SAID], "non_preferred_output": [SAID]}))
