"""`anubhav rewards`: figures, alarms and raters for people, and an operator's word on a rater."""

import json
from typing import Any

from click.testing import CliRunner, Result

from anubhav.cli import main

FOUND = {
    "alias": "default", "steps": 120, "audited": 9, "behind": 3, "implied": False, "audit_ready": False,
    "raters_known": 1,
    "figures": {"accuracy": 0.81, "ece": 0.04, "score_length": -0.2},
    "alarms": [{"name": "bought:flattery", "since": 1.0, "figures": {"moved": 2.5}}],
    "raters": [
        {"name": "t/eve", "trust": 0.0, "votes": 40, "agreed": 1.0, "disagreed": 9.0, "held": False,
         "quarantined": True, "mark": None},
    ],
}  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_figures_alarms_and_raters_are_shown(counter: Any) -> None:
    counter.answers = {"GET /v1/rewards/default": (200, FOUND)}
    shown = run("rewards").output
    assert "3 more are waiting" in shown
    assert "120 judgements" in shown and "accuracy" in shown and "0.81" in shown
    assert "bought:flattery" in shown and "moved 2.50" in shown
    assert "t/eve" in shown
    assert json.loads(run("rewards", "--format", "json").output) == FOUND


def test_an_operator_marks_raters_and_listens_to_next_turns(counter: Any) -> None:
    quiet = {**FOUND, "alarms": [], "raters": [], "figures": {}}
    counter.answers = {
        "GET /v1/rewards/shop": (200, quiet), "PUT /v1/rewards/shop": (200, {}), "POST /v1/raters": (200, {}),
    }  # fmt: skip
    result = run("rewards", "shop", "--quarantine", "t/eve", "--unmark", "t/bob", "--implied")
    assert result.exit_code == 0, result.output
    assert "No alarm." in result.output
    assert [(call, body) for call, _, body in counter.calls] == [
        ("POST /v1/raters", {"rater": "t/eve", "mark": "quarantined"}),
        ("POST /v1/raters", {"rater": "t/bob", "mark": None}),
        ("PUT /v1/rewards/shop", {"implied": True}),
        ("GET /v1/rewards/shop", None),
    ]
