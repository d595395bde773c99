"""A secret that a client plants anywhere comes back in no log, no metric and no error."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from anubhav.flows import chat
from anubhav.telemetry.logs import configure

SECRET = "Zq7-planted-secret"


@pytest.fixture(params=["json", "text"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure(form=request.param, level="info")
    yield stream
    root.handlers, root.level = before[0], before[1]


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 3, **more}


PLANTED: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/v1/chat/completions", {"json": question(SECRET)}, 200),
    ("POST", "/v1/chat/completions", {"json": question("hi", user=SECRET, metadata={"session_id": SECRET})}, 200),
    ("POST", "/v1/chat/completions", {"json": question("hi", max_tokens=SECRET)}, 400),
    ("POST", "/v1/chat/completions", {"json": question("hi", temperature=[SECRET])}, 400),
    ("POST", "/v1/chat/completions", {"content": f'{{"{SECRET}": '.encode()}, 400),
    ("POST", "/v1/chat/completions", {"json": question(SECRET * 200)}, 400),
    ("POST", "/v1/completions", {"json": {"model": "tiny", "prompt": SECRET, "max_tokens": 2}}, 200),
    ("POST", "/v1/feedback", {"json": {"target": "ep_1", "kind": "correction", "text": SECRET}}, 404),
    ("GET", "/healthz", {"headers": {"x-session-id": SECRET, "user-agent": SECRET, "cookie": SECRET}}, 200),
    ("GET", f"/healthz?key={SECRET}", {}, 200),
    ("POST", f"/v1/laps?key={SECRET}", {"headers": {"x-turn-type": SECRET}, "json": {"alias": "default"}}, 400),
    ("GET", "/v1/models", {"headers": {"x-api-key": f"tml-{SECRET}"}}, 401),
    ("GET", "/v1/models", {"headers": {"x-api-key": "", "authorization": f"Bearer {SECRET}"}}, 401),
    ("GET", "/v1/models", {"headers": {"host": f"{SECRET}.example"}}, 403),
]  # fmt: skip


async def test_a_planted_secret_never_comes_back(front: Any, log: io.StringIO) -> None:
    for method, path, content, status in PLANTED:
        response = await front.operator.request(method, path, **content)
        assert response.status_code == status, (path, response.text)
        if status >= 400:
            assert SECRET not in response.text, path
            assert SECRET not in str(response.headers)
    metrics = (await front.operator.get("/metrics")).text
    assert SECRET not in metrics
    told = log.getvalue()
    assert told.count("/v1/chat/completions") >= 6
    assert SECRET not in told
    assert front.operator.headers["x-api-key"] not in told


async def test_what_breaks_on_a_prompt_is_told_without_it(
    front: Any, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_house: Any, _tenant: str, asked: chat.Question) -> None:
        raise RuntimeError(f"cannot do {asked.messages[0].content}")

    monkeypatch.setattr(chat, "begin", fail)
    response = await front.operator.post("/v1/chat/completions", json=question(SECRET))
    assert response.status_code == 500
    assert SECRET not in response.text
    told = log.getvalue()
    assert SECRET not in told
    assert response.headers["x-request-id"] in told
    assert "RuntimeError" in told


async def test_a_line_names_request_tenant_model_and_episode(front: Any, log: io.StringIO) -> None:
    response = await front.user.post("/v1/chat/completions", json=question("hi"))
    line = next(line for line in log.getvalue().splitlines() if "chat/completions" in line)
    wanted = {"request": response.headers["x-request-id"], "tenant": "ann", "model": "default"}
    wanted["episode"] = response.json()["id"]
    if line.startswith("{"):
        assert json.loads(line).items() >= wanted.items()
    else:
        assert all(f"{name}={fact}" in line for name, fact in wanted.items())
