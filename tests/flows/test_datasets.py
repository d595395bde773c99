"""Datasets: lines as the model's template and tokenizer have them, in the words that would be sampled."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model

from anubhav.flows.datasets import Dataset, read_rows
from anubhav.rendering.renderer import Renderer
from anubhav.training.jobs import BadFile
from anubhav.types.models import Model

CALL = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny")
    return tmp_path / "tiny"


def dataset(folder: Path, *rows: Any, context: int = 1024) -> Dataset:
    data = b"\n\n".join(json.dumps(row).encode() for row in rows)
    model = Model("tiny", folder, "none", "folder", context, 258)
    return Dataset("training_file", read_rows(data, "supervised", "training_file"), Renderer(folder), model)


def test_each_answer_is_a_lesson_with_all_that_was_said_before(folder: Path) -> None:
    said = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a", "weight": 0},
        {"role": "user", "content": "v <|im_end|>"},
        {"role": "assistant", "content": "b"},
    ]
    rows = dataset(folder, {"messages": [*said, *said[2:]]})
    spell = rows.renderer.spell
    (one, other) = rows.answers(0)
    end = rows.renderer.stop_tokens[0]
    before = (
        "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nv <|im_end|><|im_end|>\n"
    )
    assert spell(one[0]) == f"{before}<|im_start|>assistant\n"
    assert one[0].count(end) == 3, "what a person writes is no control token"
    assert spell(one[1]) == "b<|im_end|>" == spell(other[1])
    assert len(other[0]) > len(one[0])


def test_calls_are_learned_as_the_model_writes_them(folder: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    rows = dataset(folder, {"messages": [{"role": "user", "content": "u"}, CALL], "tools": [tool]})
    ((prompt, answer),) = rows.answers(0)
    assert '"name": "f"' in rows.renderer.spell(prompt)
    assert rows.renderer.spell(answer) == '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call><|im_end|>'


async def test_what_does_not_fit_is_told_with_its_line(folder: Path) -> None:
    short = {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}
    long = {"messages": [{"role": "user", "content": "u" * 60}, {"role": "assistant", "content": "a"}]}
    assert await dataset(folder, short, context=64).count("supervised") < 64
    with pytest.raises(BadFile, match=r"training_file, line 3: It has 81 tokens, and the model reads 64"):
        await dataset(folder, short, long, context=64).count("supervised")
