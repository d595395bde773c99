"""Requests of people's own agents, as they came over the wire but without what they said: each is answered, to its end.

The shapes are kept by `tests/compat/clients/coding_agents.py --shapes`, which also runs the agents themselves.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fake_model import write_model
from loopback import Loopback, hosted

from anubhav.http.fields import Spoken
from anubhav.http.identity import Identity, identify

SHAPES = sorted((Path(__file__).parent / "shapes").glob("*.json"))
ENDS = {
    "/v1/chat/completions": {"data: [DONE]"},
    "/v1/messages": {'data: {"type":"message_stop"}'},
    # The model is a table and talks at random, sometimes until it has said all it may.
    "/v1/responses": {"event: response.completed", "event: response.incomplete"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("shapes")
    write_model(folder / "tiny", context=400_000)
    with hosted(folder, context=400_000) as loopback:
        yield loopback


def filled(value: Any) -> Any:
    """`~12` is twelve characters of something."""
    if isinstance(value, dict):
        return {name: filled(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    if isinstance(value, str) and value.startswith("~"):
        length = int(value[1:])
        return ("some words " * (length // 11 + 1))[:length]
    return value


@pytest.mark.parametrize("file", SHAPES, ids=lambda file: file.stem)
def test_a_request_of_an_agent_is_answered_to_its_end(file: Path, server: Loopback) -> None:
    shape = json.loads(file.read_text())
    headers = {**shape["headers"], "authorization": f"Bearer {server.key}"}
    with (
        httpx2.Client(base_url=server.url, timeout=60) as client,
        client.stream("POST", shape["path"], json=filled(shape["body"]), headers=headers) as answer,
    ):
        lines = [line for line in answer.iter_lines() if line]
    assert answer.status_code == 200, lines
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert ENDS[shape["path"].partition("?")[0]] & set(lines[-3:]), lines[-3:]
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert told
    assert not [body for body in told if body.get("error") or (body.get("response") or {}).get("error")]


def test_claude_code_is_the_same_person_in_every_session() -> None:
    def who(session: str) -> Identity:
        user = {"device_id": "d1", "account_uuid": "", "session_id": session}
        body = Spoken(metadata={"user_id": json.dumps(user)})
        return identify({"x-claude-code-session-id": session}, body, [("user", "Hello")])

    assert (who("s1").user, who("s1").session) == ("d1", "s1")
    assert (who("s2").user, who("s2").session) == ("d1", "s2")


@pytest.mark.parametrize("name", ["ann", "{", "{}", "[" * 100_000, "{" * 100_000])
def test_other_names_of_users_stay_as_they_are(name: str) -> None:
    found = identify({}, Spoken(metadata={"user_id": name}), [])
    assert found.user is not None
    assert found.user[:100] == name[:100]
