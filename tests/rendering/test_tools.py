"""Tool calls and results as tokens: by the model's own template where it writes them, as text where it does not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model

from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Message, ToolCall

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
