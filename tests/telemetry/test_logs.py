import json
import logging
from collections.abc import Iterator

import pytest

from anubhav.errors import Broken
from anubhav.telemetry.logs import configure, tell_request
from anubhav.telemetry.notes import note, noted, noting

SECRET = "planted-secret-97"


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Afterwards the log is pytest's again."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers, root.level = before[0], before[1]


def test_a_line_is_json_with_what_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    configure(form="json")
    with noting(request="req_1"):
        note(tenant="ann", run=None, model="default")
        tell_request("POST", "/v1/x", 200, 0.25)
        logging.getLogger("anubhav.x").warning("run %s waits", 'tml-abcdefgh"')
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first | {"time": ""} == {
        "time": "", "level": "info", "logger": "anubhav.requests", "message": "POST /v1/x 200 0.250 s",
        "request": "req_1", "tenant": "ann", "model": "default", "method": "POST", "route": "/v1/x", "status": 200,
        "seconds": 0.25,
    }  # fmt: skip
    assert first["time"].endswith("+00:00")
    assert second["message"] == "run *** waits"
    assert not noted()


def test_text_has_a_line_a_request_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    tell_request("GET", "/healthz", 200, 0.1)
    assert capsys.readouterr().err == ""
    configure(level="info")
    with noting(request="req_2"):
        tell_request("GET", "/healthz", 200, 0.1)
    assert "INFO anubhav.requests: GET /healthz 200 0.100 s [request=req_2]" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_unforeseen_error_is_told_without_its_words(capsys: pytest.CaptureFixture[str], form: str) -> None:
    configure(form=form)  # type: ignore[arg-type]
    try:
        try:
            int(SECRET)
        except ValueError as problem:
            raise Broken("The server failed") from problem
    except Broken as problem:
        logging.getLogger("anubhav.x").error("request %s failed", "req_3", exc_info=problem)
    told = capsys.readouterr().err
    assert SECRET not in told
    assert "builtins.ValueError" in told
    assert "anubhav.errors.Broken: The server failed" in told
    assert "test_logs.py:" in told
    assert "int(SECRET)" not in told


def test_at_debug_the_words_are_there_and_keys_are_still_not(capsys: pytest.CaptureFixture[str]) -> None:
    configure(level="debug")
    try:
        raise KeyError(f"{SECRET} tml-1234567890 sk-1234567890 eyJhbGciOiJIUzI1NiJ9.eyJpc3M.abc /?token=abc.def")
    except KeyError as problem:
        logging.getLogger("anubhav.x").error("failed", exc_info=problem)
    told = capsys.readouterr().err
    assert SECRET in told
    assert not any(part in told for part in ("1234567890", "eyJ", "abc"))
    logging.getLogger("anubhav.x").warning("a task-force")
    assert "a task-force" in capsys.readouterr().err
