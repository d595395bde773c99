"""Replies of every family, told apart, however they are cut into pieces."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anubhav.rendering.speech.dialects import Dialect, choose
from anubhav.rendering.speech.listening import Listener
from anubhav.types.chat import NOTHING, Heard, Tool

WEATHER = Tool(
    "get_weather",
    "",
    json.dumps({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}),
)
TEMPLATES = {
    "hermes": "<tool_call> </think>",
    "qwen-coder": "<tool_call><function=",
    "llama": "<|python_tag|>",
    "nemotron": "<TOOLCALL>",
    "mistral": "[TOOL_CALLS]",
    "gemma": "<start_of_turn>",
    "kimi": "<|tool_calls_section_begin|>",
    "deepseek": "<｜tool▁calls▁begin｜> ```json",
    "deepseek-3.1": "<｜tool▁calls▁begin｜> </think>",
}
PARIS = ("get_weather", {"city": "Paris", "days": 2})
ROME = ("get_weather", {"city": "Rome"})
CASES: list[tuple[str, str, str, str, list[Any]]] = [
    ("hermes", "Just words, 2 < 3.", "Just words, 2 < 3.", "", []),
    (
        "hermes",
        '<think>\nWhich city?\n</think>\n\nLet me look.\n<tool_call>\n{"name": "get_weather", "arguments": '
        '{"city": "Paris", "days": 2}}\n</tool_call>\n<tool_call>\n{"name": "get_weather", "arguments": '
        '{"city": "Rome"}}\n</tool_call>',
        "Let me look.",
        "Which city?",
        [PARIS, ROME],
    ),
    # SmolLM2's, a list in one section.
    (
        "hermes",
        '<tool_call>[{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}, '
        '{"name": "get_weather", "arguments": {"city": "Rome"}}]</tool_call>',
        "",
        "",
        [PARIS, ROME],
    ),
    (
        "qwen-coder",
        "I look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n"
        "</parameter>\n</function>\n</tool_call>",
        "I look.",
        "",
        [PARIS],
    ),
    ("llama", '{"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}', "", "", [PARIS]),
    (
        "llama",
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}; '
        '{"name": "get_weather", "parameters": {"city": "Rome"}}',
        "",
        "",
        [PARIS, ROME],
    ),
    ("llama", '[get_weather(city="Paris", days=2), get_weather(city="Rome")]', "", "", [PARIS, ROME]),
    ("llama", '[1] is a footnote {"name": 1}', '[1] is a footnote {"name": 1}', "", []),
    (
        "nemotron",
        'Sure.<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Rome"}}]</TOOLCALL>',
        "Sure.",
        "",
        [ROME],
    ),
    ("mistral", '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Rome"}}]', "", "", [ROME]),
    (
        "mistral",
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 2}[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}',
        "",
        "",
        [PARIS, ROME],
    ),
    ("gemma", "Okay.\n```tool_code\nprint(get_weather(city='Paris', days=2))\n```", "Okay.", "", [PARIS]),
    (
        "kimi",
        "One moment.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Paris", "days": 2}<|tool_call_end|><|tool_call_begin|>functions.get_weather:1'
        '<|tool_call_argument_begin|>{"city": "Rome"}<|tool_call_end|><|tool_calls_section_end|>',
        "One moment.",
        "",
        [PARIS, ROME],
    ),
    (
        "deepseek",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Paris", "days": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        "",
        "",
        [PARIS],
    ),
    (
        "deepseek-3.1",
        "<think>Hm</think>Yes.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        '{"city": "Rome"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        "Yes.",
        "Hm",
        [ROME],
    ),
    # What cannot be read was no call, and nothing of it is lost.
    ("hermes", "<tool_call>\n{broken</tool_call> sorry", "<tool_call>\n{broken</tool_call> sorry", "", []),
    ("hermes", '<tool_call>{"name": "get_', '<tool_call>{"name": "get_', "", []),
]


def hear(dialect: Dialect, text: str, cuts: list[int], *, thinking: bool = False) -> Heard:
    listener = Listener(dialect, (WEATHER,), thinking=thinking)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    heard = NOTHING
    for start, end in pairwise(places):
        heard += listener.push(text[start:end])
    return heard + listener.flush()


@pytest.mark.parametrize(("name", "text", "content", "reasoning", "calls"), CASES)
@given(cuts=st.lists(st.integers(0, 300), max_size=12))
def test_a_reply_is_told_apart(
    name: str, text: str, content: str, reasoning: str, calls: list[Any], cuts: list[int]
) -> None:
    dialect = choose(TEMPLATES[name])
    assert dialect.name == name
    for heard in (hear(dialect, text, cuts), hear(dialect, text, list(range(len(text))))):
        assert (heard.content, heard.reasoning) == (content, reasoning)
        assert [(call.name, json.loads(call.arguments)) for call in heard.calls] == calls


def test_kimis_calls_keep_the_names_that_its_template_expects_back() -> None:
    text = next(case[1] for case in CASES if case[0] == "kimi")
    found = hear(choose(TEMPLATES["kimi"]), text, [])
    assert [call.id for call in found.calls] == ["functions.get_weather:0", "functions.get_weather:1"]


def test_a_thought_that_the_prompt_opened_is_no_answer() -> None:
    dialect = choose(TEMPLATES["hermes"])
    assert hear(dialect, "\nhm\n\n</think>\n\nYes", [3], thinking=True) == Heard("Yes", "hm")
    assert hear(dialect, "never done", [4], thinking=True) == Heard("", "never done")


def test_without_tools_nothing_is_a_call() -> None:
    text = '<tool_call>{"name": "a", "arguments": {}}</tool_call>'
    listener = Listener(choose(""), ())
    assert listener.push(text) + listener.flush() == Heard(text)


@given(text=st.text(alphabet='<tool_cal>/think{}" \n', max_size=80), cuts=st.lists(st.integers(0, 80), max_size=6))
def test_any_text_is_heard_the_same_however_it_is_cut(text: str, cuts: list[int]) -> None:
    dialect = choose(TEMPLATES["hermes"])
    whole, cut = hear(dialect, text, []), hear(dialect, text, cuts)
    assert (whole.content, whole.reasoning, len(whole.calls)) == (cut.content, cut.reasoning, len(cut.calls))
