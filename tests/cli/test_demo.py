import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fake_model import write_model

from anubhav.cli.demo import questions
from anubhav.cli.demo.figures import measure
from anubhav.errors import BadInput

ITEM = {"question": "How long?", "answer": "It is 47 days.", "expect": "47", "paraphrases": ["For how many days?"]}


def lap(outcome: str, before: float, after: float) -> dict[str, Any]:
    suite = {"suite": "guard-text", "incumbent": before, "candidate": after}
    return {"outcome": outcome, "state": "done", "verdict": {"comparisons": [suite]}}


def test_the_built_in_questions_are_sound() -> None:
    items = questions.load(None)
    assert len(items) >= 12
    assert len({item.question for item in items}) == len(items)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"paraphrases": []}, "no paraphrases"),
        ({"answer": "It is 48 days."}, "does not hold"),
        ({"paraphrases": ["Is it 47 days?"]}, "gives away"),
        ({"paraphrases": ["How long?"]}, "own paraphrase"),
        ({"expect": " "}, "empty"),
    ],
)
def test_a_wrong_questions_file_is_refused_by_item(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    file = tmp_path / "questions.json"
    file.write_text(json.dumps([ITEM, {**ITEM, **change}]))
    with pytest.raises(BadInput, match=rf"Question 2.*{complaint}"):
        questions.load(file)


@pytest.mark.parametrize("content", ["{}", "[]", "no json", json.dumps([ITEM, {**ITEM, "expect": 47}])])
def test_what_is_no_list_of_questions_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "questions.json"
    file.write_text(content)
    with pytest.raises(BadInput, match="questions file") as refusal:
        questions.load(file)
    assert "--help" in refusal.value.hint


def test_digits_inside_a_longer_number_are_not_right() -> None:
    item = questions.load(None)[0]
    assert item.is_right(f"Within {item.expect} days.")
    assert not item.is_right(f"Within 1{item.expect} days.")


def test_figures_are_those_of_what_was_measured() -> None:
    before, after = [False] * 18 + [True] * 2, [False] * 8 + [True] * 12
    act = measure(before, after, [lap("inconclusive", -2.0, -9.0), lap("pass", -2.0, -2.1)], 12.34)
    assert (act.n, act.before, act.after, act.seconds) == (20, 0.1, 0.6, 12.3)
    assert 0.2 < act.interval[0] < 0.5 < act.interval[1] < 0.8
    assert (act.verdict, act.laps, act.text) == ("pass", ("inconclusive", "pass"), (-2.0, -2.1))


def test_an_act_without_a_release_says_so() -> None:
    act = measure([False, True], [False, True], [lap("fail", -2.0, -3.0)], 1.0)
    assert (act.before, act.after, act.interval, act.verdict, act.text) == (0.5, 0.5, (0.0, 0.0), "fail", None)


def test_a_demo_that_is_told_to_stop_takes_its_server_along(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    command = [sys.executable, "-u", "-m", "anubhav", "demo", "--model", str(tmp_path / "tiny")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        told = (re.search(r"The console: (http://\S+?)/\?", line) for line in demo.stdout)
        url = next(found[1] for found in told if found)
        assert httpx2.get(f"{url}/healthz").status_code == 200
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()
    assert demo.returncode != 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/healthz")
