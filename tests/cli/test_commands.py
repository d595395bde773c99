import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from anubhav.cli import main

SUITE = {"suite": "target", "n": 30, "incumbent": 0.0, "candidate": 0.7, "difference": 0.7, "low": 0.5, "high": 0.85}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def lap(outcome: str | None, state: str = "done") -> dict[str, Any]:
    verdict = outcome and {"outcome": outcome, "reason": "because", "comparisons": [SUITE]}
    return {
        "id": "lap_1", "alias": "default", "state": state, "phase": "settled", "outcome": outcome,
        "verdict": verdict, "report": {"failure": "no disk"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        (lap("pass"), 0, "pass: because"),
        (lap("fail"), 3, "fail: because"),
        (lap("inconclusive"), 3, "+0.50 … +0.85"),
        (lap(None, "failed"), 1, "no disk"),
    ],
)
def test_a_lap_ends_with_the_verdicts_exit_code(counter: Any, found: dict[str, Any], code: int, says: str) -> None:
    counter.answers = {"POST /v1/laps": (202, {"id": "lap_1"}), "GET /v1/laps/lap_1": (200, found)}
    result = run("lap", "default")
    assert result.exit_code == code
    assert says in result.output
    assert counter.calls[0] == ("POST /v1/laps", "tml-test", {"alias": "default"})


def test_a_lap_that_rests_says_why_and_how_it_goes_on(counter: Any) -> None:
    resting = {**lap(None, "paused"), "phase": "remembering", "report": {"rests_because": "0.5 nats apart."}}
    found = {"running": resting, "unread": 3, "schedule": None, "next_at": None, "recent": []}
    counter.answers = {"GET /v1/learning/default": (200, found)}
    told = run("lap", "status").output
    assert "lap_1 of default is paused: remembering\n  0.5 nats apart.\n  anubhav lap resume default" in told


def test_nobody_there_is_exit_code_4_with_what_to_type() -> None:
    result = run("status", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 4
    assert "anubhav serve" in result.output
    assert "Traceback" not in result.output


def test_the_servers_own_words_reach_the_terminal(counter: Any) -> None:
    error = {"message": "There is no reply ep_9. Look.", "hint": "Look.", "type": "not_found_error"}
    counter.answers = {"POST /v1/feedback": (404, {"error": error, "request_id": "req_7"})}
    result = run("feedback", "ep_9", "--up")
    assert result.exit_code == 1
    assert "There is no reply ep_9\nLook. (request req_7)" in result.output


def test_feedback_needs_exactly_one_judgement(counter: Any) -> None:
    assert run("feedback", "ep_1").exit_code == 2
    assert run("feedback", "ep_1", "--up", "--rating", "0.5").exit_code == 2
    counter.answers = {"POST /v1/feedback": (200, {"status": "accepted", "id": "fb_1", "episode": "ep_1"})}
    assert run("feedback", "ep_1:2", "--down").exit_code == 0
    assert counter.calls == [
        ("POST /v1/feedback", "tml-test", {"target": "ep_1:2", "rater": None, "kind": "thumb", "value": 0})
    ]


def test_releases_as_a_table_and_as_json(counter: Any) -> None:
    row = {
        "id": "rel_1", "alias": "default", "action": "promote", "path": None, "who": "lap", "why": "passed",
        "created_at": 0.0,
    }  # fmt: skip
    counter.answers = {"GET /v1/releases": (200, {"data": [row]})}
    heading, line = run("releases").output.splitlines()
    assert heading.split() == ["ID", "ALIAS", "ACTION", "PATH", "WHO", "WHY", "WHEN"]
    assert line.split()[:6] == ["rel_1", "default", "promote", "-", "lap", "passed"]
    assert json.loads(run("releases", "default", "-f", "json").output)[0]["path"] is None
    assert counter.calls[-1][0] == "GET /v1/releases?limit=20&alias=default"


def test_the_key_comes_from_the_data_folder(counter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANUBHAV_API_KEY")
    (tmp_path / "api-key").write_text("tml-kept\n")
    counter.answers = {"POST /v1/keys": (200, {"key": "tml-new"})}
    result = run("key", "create", "--tenant", "ann", "--data-dir", str(tmp_path))
    assert result.output == "tml-new\n"
    assert counter.calls[0][1:] == ("tml-kept", {"tenant": "ann", "note": "", "operator": False, "prefix": "tml"})


def test_keys_are_listed_and_revoked(counter: Any) -> None:
    row = {"id": "key_1", "tenant": "ann", "operator": False, "note": "", "created_at": 0.0, "revoked_at": None}
    row["scopes"] = ["read", "sample"]
    counter.answers = {"GET /v1/keys": (200, {"data": [row], "next": None}), "DELETE /v1/keys/key_1": (200, {})}
    heading, line = run("key", "list").output.splitlines()
    assert heading.split() == ["ID", "TENANT", "OPERATOR", "SCOPES", "MADE", "REVOKED", "NOTE"]
    assert line.split()[:5] == ["key_1", "ann", "no", "read", "sample"]
    assert json.loads(run("key", "list", "-f", "json").output) == [row]
    assert run("key", "revoke", "key_1").output == "key_1 is revoked\n"
    assert run("key", "revoke", "key_2").exit_code == 1


def test_a_key_is_made_with_scopes_and_limits(counter: Any) -> None:
    quota = {"tokens_a_day": 5, "runs": None, "storage_bytes": 7, "queue": None}
    used = {"tokens_today": 1, "runs": 2, "storage_bytes": 3, "queue": 4}
    found = {"tenant": "ann", "quota": quota, "used": used}
    counter.answers = {
        "POST /v1/keys": (200, {"key": "tml-new"}),
        "GET /v1/quotas/ann": (200, found),
        "PUT /v1/quotas/ann": (200, found),
    }
    limits = ("--tokens-a-day", "1.5M", "--storage", "10GB", "--runs", "none")
    result = run("key", "create", "--tenant", "ann", "--scope", "train", "--scope", "read", *limits)
    assert result.output == "tml-new\n"
    sent = counter.calls[-1][2]
    assert sent["scopes"] == ["train", "read"]
    assert sent["quota"] == quota | {"tokens_a_day": 1_500_000, "storage_bytes": 10**10}
    lines = run("key", "quota", "ann").output.splitlines()
    assert [line.split() for line in lines[:2]] == [["WHAT", "USED", "LIMIT"], ["tokens_a_day", "1", "5"]]
    run("key", "quota", "ann", "--queue", "9", "--tokens-a-day", "none")
    assert counter.calls[-1] == ("PUT /v1/quotas/ann", "tml-test", quota | {"queue": 9, "tokens_a_day": None})
    assert run("key", "quota", "ann", "--queue", "-5").exit_code == 2
    assert run("key", "quota", "ann", "--queue", "many").exit_code == 2


def test_another_address_needs_a_chosen_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANUBHAV_API_KEY", raising=False)
    result = run("serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "ANUBHAV_API_KEY" in result.output
    assert run("serve", "--alias", "no-equals-sign").exit_code == 2
