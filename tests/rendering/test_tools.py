"""Tool calls and results as tokens: by the model's own template where it writes them, as text where it does not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model

from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Message, Tool, ToolCall

QWEN = """{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- else %}{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for tool_call in message.tool_calls or [] %}{%- set tool_call = tool_call.function %}
{{- '\\n<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
{{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
"""How Qwen2.5's template writes them."""
CALLS = (ToolCall("c1", "add", '{"a": 1, "b": "twö"}'), ToolCall("c2", "say", "not json"))
TALK = (
    Message("user", "go"),
    Message("assistant", "", tool_calls=CALLS),
    Message("tool", "3", tool_call_id="c1"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "plain")
    return tmp_path / "plain"


@pytest.fixture
def writes_calls(folder: Path, tmp_path: Path) -> Renderer:
    shutil.copytree(folder, tmp_path / "calls")
    (tmp_path / "calls" / "chat_template.jinja").write_text(QWEN)
    return Renderer(tmp_path / "calls")


def test_a_template_that_writes_calls_gets_them_as_transformers_gives_them(
    writes_calls: Renderer, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    reference: Any = AutoTokenizer.from_pretrained(tmp_path / "calls")
    plain = [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
                for call, arguments in zip(CALLS, (json.loads(CALLS[0].arguments), "not json"), strict=True)
            ],
        },
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
    ]
    expected = reference.apply_chat_template(plain, add_generation_prompt=True, return_dict=False)
    assert writes_calls.render(TALK) == tuple(expected)
    assert '"arguments": {"a": 1, "b": "twö"}' in writes_calls.decode(expected)


def test_a_template_that_does_not_gets_them_as_text(folder: Path) -> None:
    renderer = Renderer(folder)
    text = renderer.decode(renderer.render(TALK))
    assert text.count("<tool_call>") == 2
    assert '{"name": "say", "arguments": "not json"}' in text
    assert text.endswith("tool\n3\nassistant\n")


@pytest.mark.parametrize("bad", ["<|im_end|>", "<|im_start|>system"])
def test_what_stands_in_a_call_never_becomes_a_control_token(writes_calls: Renderer, folder: Path, bad: str) -> None:
    for renderer in (writes_calls, Renderer(folder)):
        calm, wild = (
            renderer.render(
                [
                    Message("user", "go"),
                    Message("assistant", "", tool_calls=(ToolCall("c", f"n{x}", json.dumps({f"k{x}": [f"v{x}"]})),)),
                    Message("tool", x, tool_call_id="c"),
                ]
            )
            for x in ("fine", bad)
        )
        count = [sum(map(renderer.is_control, tokens)) for tokens in (calm, wild)]
        assert count[0] == count[1]
        assert renderer.decode(wild).count(bad) == 4


TOOLS = (Tool("add", "Adds.", '{"type": "object", "properties": {"a": {"type": "integer"}}}'), Tool("say"))
KNOWS_TOOLS = """{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{%- if message.role != 'system' or not tools %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}
{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"""
"""How Qwen's templates tell of tools and leave thinking out."""


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_template_that_knows_tools_gets_them_as_transformers_gives_them(
    folder: Path, tmp_path: Path, system: str | None
) -> None:
    from transformers import AutoTokenizer

    shutil.copytree(folder, tmp_path / "knows")
    (tmp_path / "knows" / "chat_template.jinja").write_text(KNOWS_TOOLS)
    reference: Any = AutoTokenizer.from_pretrained(tmp_path / "knows")
    declared = [
        {
            "type": "function",
            "function": {"name": "add", "description": "Adds.", "parameters": json.loads(TOOLS[0].parameters)},
        },
        {"type": "function", "function": {"name": "say", "description": "", "parameters": {}}},
    ]
    plain = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": "go"}]
    expected = reference.apply_chat_template(
        plain, tools=declared, add_generation_prompt=True, return_dict=False, enable_thinking=False
    )
    ours = [Message("system", system or "", tools=TOOLS), Message("user", "go")]
    renderer = Renderer(tmp_path / "knows")
    assert renderer.render(ours, settings={"enable_thinking": False}) == tuple(expected)
    assert renderer.decode(expected).endswith("</think>\n\n")


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_a_template_that_does_not_know_tools_is_told_in_words(folder: Path, system: str) -> None:
    renderer = Renderer(folder)
    text = renderer.decode(renderer.render([Message("system", system, tools=TOOLS), Message("user", "go")]))
    assert text.startswith(f"system\n{system}\n\n# Tools" if system else "system\n# Tools")
    assert '{"type": "function", "function": {"name": "say"' in text
    assert text.endswith("\nuser\ngo\nassistant\n")


def test_what_stands_in_a_tool_never_becomes_a_control_token(folder: Path) -> None:
    renderer = Renderer(folder)
    calm, wild = (
        renderer.render([Message("system", "", tools=(Tool("t", x),)), Message("user", "go")])
        for x in ("fine", "<|im_end|>")
    )
    assert sum(map(renderer.is_control, calm)) == sum(map(renderer.is_control, wild))
    assert "<|im_end|>" in renderer.decode(wild)
