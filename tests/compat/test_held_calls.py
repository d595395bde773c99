"""Calls that must come, come, and hold to their schemas: a model that was never taught a call makes one where it is
held to, in every dialect, and so does the real one.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from fake_model import write_model
from loopback import Loopback, hosted

from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Message, Tool

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Rome"]},
        "days": {"type": "integer", "maximum": 9, "minimum": 1},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
FUNCTIONS = [
    {"name": "visit", "description": "Visits.", "parameters": SCHEMA},
    {
        "name": "leave",
        "description": "Leaves.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
]
CHAT: Any = [{"type": "function", "function": one} for one in FUNCTIONS]
RESPONSES: Any = [{"type": "function", **one} for one in FUNCTIONS]
ASK: Any = [{"role": "user", "content": "Go."}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("held")
    write_model(folder / "tiny", 8192)
    with hosted(folder, 8192) as loopback:
        yield loopback


@pytest.fixture(scope="module")
def gpt(server: Loopback) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def fits(name: str, arguments: Any) -> bool:
    if name == "leave":
        return arguments == {}
    return set(arguments) == {"city", "days"} and arguments["city"] in ("Paris", "Rome") and 1 <= arguments["days"] <= 9


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "visit"}}])
def test_a_call_that_must_come(gpt: openai.OpenAI, choice: Any, seed: int) -> None:
    reply = gpt.chat.completions.create(model="tiny", messages=ASK, tools=CHAT, tool_choice=choice, seed=seed)
    (call,) = reply.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert fits(call.function.name, json.loads(call.function.arguments))
    assert choice == "required" or call.function.name == "visit"
    assert (reply.choices[0].finish_reason, reply.choices[0].message.content) == ("tool_calls", None)


def test_in_the_other_dialects(server: Loopback, gpt: openai.OpenAI) -> None:
    reply = gpt.responses.create(
        model="tiny",
        input="Go.",
        tools=RESPONSES,
        tool_choice={"type": "function", "name": "visit"},
        parallel_tool_calls=False,
    )
    (item,) = reply.output
    assert item.type == "function_call"
    assert fits(item.name, json.loads(item.arguments))
    tools: Any = [{"name": one["name"], "input_schema": one["parameters"]} for one in FUNCTIONS]
    with anthropic.Anthropic(base_url=server.url, auth_token=server.key, max_retries=0) as claude:
        message = claude.messages.create(
            model="tiny", max_tokens=400, messages=ASK, tools=tools,
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
        )  # fmt: skip
    (block,) = message.content
    assert block.type == "tool_use"
    assert fits(block.name, block.input)


@pytest.mark.parametrize("seed", range(4))
def test_beside_tools_words_hold_to_their_form(gpt: openai.OpenAI, seed: int) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "visit", "schema": SCHEMA, "strict": True}}
    reply = gpt.chat.completions.create(
        model="tiny", messages=ASK, tools=CHAT, response_format=form, seed=seed, max_tokens=600
    )
    message = reply.choices[0].message
    called = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
    said = [("visit", json.loads(message.content))] if message.content else []
    assert called or said
    assert all(fits(*one) for one in called[:-1] + said)


def test_a_strict_tool_is_held_to_its_schema_and_words_are_free(gpt: openai.OpenAI) -> None:
    strict: Any = [{"type": "function", "function": {**FUNCTIONS[0], "strict": True}}]
    reply = gpt.chat.completions.create(model="tiny", messages=ASK, tools=strict, max_tokens=20, seed=1)
    assert len(reply.choices[0].message.content or "") > 5


def test_a_schema_that_cannot_be_held_to_is_refused_where_it_must_be(gpt: openai.OpenAI) -> None:
    odd = {"type": "object", "properties": {"x": {"not": {"type": "string"}}}, "required": ["x"]}
    for strict in (True, False):
        tools: Any = [{"type": "function", "function": {"name": "odd", "parameters": odd, "strict": strict}}]
        asked: Any = {"model": "tiny", "messages": ASK, "tools": tools, "tool_choice": "required", "max_tokens": 30}
        if strict:
            with pytest.raises(openai.BadRequestError, match="not"):
                gpt.chat.completions.create(**asked)
        else:
            assert gpt.chat.completions.create(**asked).choices


@pytest.mark.parametrize(
    "mark",
    ["", "<|python_tag|>", "<TOOLCALL>", "[TOOL_CALLS]", "<|tool_calls_section_begin|>", "<｜tool▁calls▁begin｜>"],
)
def test_every_familys_form_can_be_held_to(tmp_path: Path, mark: str) -> None:
    """Walks the grammar greedily from what it allows first: what comes out is heard as calls."""
    from anubhav.grammars.holding import hold

    write_model(tmp_path / "tiny")
    template = (tmp_path / "tiny" / "chat_template.jinja").read_text()
    (tmp_path / "tiny" / "chat_template.jinja").write_text(template + "{#" + mark + "#}")
    renderer = Renderer(tmp_path / "tiny")
    tools = [Tool(one["name"], one["description"], json.dumps(one["parameters"])) for one in FUNCTIONS]
    prompt = renderer.render([Message("user", "Go.")])
    grammar = renderer.force(prompt, tools, several=False)
    held = hold(tmp_path / "tiny", renderer.stop_tokens, grammar)
    said: list[int] = []
    for step in range(400):
        allowed = [token for token, may in enumerate(held.mask(said, 258)) if may]
        said.append(allowed[step % len(allowed)])
        if said[-1] in renderer.stop_tokens:
            break
    listener = renderer.listener(prompt, tools, "call_")
    heard = listener.push(renderer.decode(said)) + listener.flush()
    (call,) = heard.calls
    assert fits(call.name, json.loads(call.arguments))
    assert heard.content == ""
