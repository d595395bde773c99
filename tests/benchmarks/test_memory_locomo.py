"""LoCoMo's marking: which evidence counts as kept, and what the answer's words are looked for in."""

import asyncio
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory import locomo
from benchmarks.memory.conversation import Question, read, read_all
from benchmarks.memory.locomo import judge
from benchmarks.memory.message import Held, Message

SAID = [
    Message("user", "I went to the pottery class with my sister Anna yesterday.", "Mel"),
    Message("user", "Wow, that is great!", "Caro"),
    Message("user", "We will be in Oslo on 7 May.", "Mel"),
]
PAIR = Question("When are they in Oslo?", "On 7 May", (0, 2))


def held(turn: int | None, text: str) -> Held:
    return Held("user", text, turn)


def test_a_telegram_of_all_carrying_words_is_evidence_but_not_whole() -> None:
    lines = [held(0, "Mel: went pottery class sister Anna yesterday."), held(2, SAID[2].named)]
    marks = judge(lines, PAIR, SAID)
    assert marks["evidence"] == 1 and marks["whole"] == 0 and marks["coverage"] == 1
    assert marks["words"] == 1


def test_evidence_that_lost_a_word_or_a_message_is_none() -> None:
    assert judge([held(0, "Mel: went pottery class"), held(2, SAID[2].named)], PAIR, SAID)["evidence"] == 0
    alone = judge([held(0, SAID[0].named)], PAIR, SAID)
    assert alone["evidence"] == 0 and 0 < alone["words"] < 1 and alone["coverage"] == 0


def test_text_written_anew_counts_wherever_its_words_stand() -> None:
    notes = [held(None, "Mel went to a pottery class with sister Anna yesterday."), held(None, "Mel: Oslo on 7 May.")]
    assert judge(notes, PAIR, SAID)["evidence"] == 1


def test_a_message_of_joining_words_is_there_if_any_of_it_is() -> None:
    small = Question("Was it great?", "the", (0,))
    only = [Message("user", "It is what it is.")]
    assert judge([held(0, "what it is")], small, only)["evidence"] == 1
    assert judge([], small, only)["evidence"] == 0
    assert "coverage" not in judge([], small, only)


def conversation(folder: Path) -> Path:
    told: dict[str, Any] = {
        "session_2": [{"speaker": "Mel", "dia_id": "D2:1", "text": SAID[2].text}],
        "session_1": [
            {"speaker": "Mel", "dia_id": "D1:1", "text": SAID[0].text, "blip_caption": "a bowl"},
            {"speaker": "Caro", "dia_id": "D1:2", "text": SAID[1].text},
        ],
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "qa": [
            {"question": PAIR.text, "answer": PAIR.answer, "evidence": ["D1:1", "D2:1"], "category": 1},
            {"question": "Year?", "answer": 2023, "evidence": ["D9:9"], "category": 2},
            {"question": "Trick?", "adversarial_answer": "no", "evidence": ["D1:1"], "category": 5},
        ],
    }
    file = folder / "1.json"
    file.write_text(json.dumps(told))
    return file


def test_sessions_are_read_in_order_and_only_questions_with_evidence(tmp_path: Path) -> None:
    found = read(conversation(tmp_path))
    assert [message.speaker for message in found.messages] == ["Mel", "Caro", "Mel"]
    assert found.messages[0].text.endswith("[image: a bowl]")
    assert found.questions == (PAIR,)


def test_a_folder_without_conversations_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"No \*\.json"):
        read_all(tmp_path)


def test_the_last_line_has_an_entry_for_each_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conversation(tmp_path)
    chosen = Namespace(
        data=tmp_path, budget=[64, 512], policies=["full-context", "recency", "diffusion-fixed"], conversations=None,
        tokens="words", surprise=False, model="no-such-model",
    )  # fmt: skip
    asyncio.run(locomo.measure(chosen))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["budget"] == 512 and {"claim", "machine", "commit"} <= last.keys()
    assert {name: one["evidence"] for name, one in last["policies"].items()} == {
        "full-context": 100.0, "recency": 100.0, "diffusion-fixed": 100.0,
    }  # fmt: skip
    assert not last["policies"]["full-context"]["bounded"]
