"""`anubhav canary` on the wire and on the screen."""

from typing import Any

import pytest
from click.testing import CliRunner, Result

from anubhav.cli import main

PLACE = "/v1/release-policies/default"
POLICY = {
    "steps": [1, 5, 25, 100], "least_people": 10, "least_replies": 30, "margin": 0.1, "holdback": 5, "since": 1.0,
    "shadow": 20,
}  # fmt: skip
SHADOW = {
    "replies": 12, "failed": [1, 0], "p": 0.5, "worth": [0.1, 0.3], "difference": [-0.2, -0.3, -0.1],
    "tokens": [30.0, 40.0], "pace": [0.011, 0.01],
}  # fmt: skip
TRIAL = {
    "id": "tr_1", "path": "tinker://a", "step": -1, "since": 1.0, "stage": "shadow", "percent": 0, "people": 0,
    "difference": None, "shadow": SHADOW, "state": "running",
    "failures": {"canary": {"failed": 2, "replies": 9}, "stable": {"failed": 1, "replies": 90}},
}  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["canary", *arguments])


def found(trial: Any = None) -> dict[str, Any]:
    return {"alias": "default", "policy": POLICY, "trial": trial, "trials": [trial] if trial else []}


@pytest.mark.parametrize(("said", "sent"), [("20", 20), ("off", 0)])
def test_the_shadow_is_set_beside_what_is_set(counter: Any, said: str, sent: int) -> None:
    counter.answers = {f"GET {PLACE}": (200, found()), f"PUT {PLACE}": (200, found())}
    shown = run("--shadow", said)
    assert shown.exit_code == 0, shown.output
    assert "default releases to 20 prompts in the shadow → 1 % → 5 % → 25 % → 100 %" in shown.output
    wanted = {name: value for name, value in POLICY.items() if name != "since"} | {"shadow": sent}
    assert counter.calls[-1] == (f"PUT {PLACE}", "tml-test", wanted)


@pytest.mark.parametrize("said", ["some", "-1", "2.5"])
def test_what_is_no_number_is_refused(counter: Any, said: str) -> None:
    counter.answers = {f"GET {PLACE}": (200, found())}
    shown = run("--shadow", said)
    assert shown.exit_code == 2
    assert "20, or off" in shown.output


def test_what_is_in_the_shadow_is_told(counter: Any) -> None:
    counter.answers = {f"GET {PLACE}": (200, found(TRIAL))}
    shown = run().output
    assert "tinker://a is heard by nobody yet" in shown
    assert "12 of 20 prompts in the shadow: 1 failed against 0, 30 tokens against 40, 11 ms a token" in shown
    assert "the critic's -0.20 (95 % -0.30 … -0.10)" in shown
    counter.answers = {f"GET {PLACE}": (200, found({**TRIAL, "shadow": None}))}
    assert "0 of 20 prompts in the shadow" in run().output


def test_what_is_heard_is_told_with_what_failed(counter: Any) -> None:
    counter.answers = {f"GET {PLACE}": (200, found({**TRIAL, "stage": "canary", "step": 0, "percent": 1}))}
    shown = run().output
    assert "tinker://a is heard by 1 %" in shown
    assert "12 prompts in the shadow" in shown
    assert "0 people judged both sides so far" in shown
    assert "2 of its 9 replies failed, 1 of the release's 90" in shown
