"""The client of feedback: what it sends for each kind, when it sends it again, and what it raises."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from anubhav import feedback
from anubhav.errors import BadInput, Mismatch, NotAllowed, NotAuthenticated, NotFound, Unavailable
from anubhav.feedback import AsyncFeedback, Feedback


class Server:
    """Keeps what it is told under its id, as the real one does, after as many failures as it is given."""

    def __init__(self) -> None:
        self.failures: list[tuple[int, dict[str, str], Any] | None] = []
        """None breaks the connection after the body was taken."""
        self.kept: dict[str, Any] = {}
        self.calls: list[tuple[str, str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.calls.append((self.path, self.headers.get("authorization", ""), body))
                failure = server.failures.pop(0) if server.failures else (200, {}, None)
                if failure is None or failure[0] == 200:
                    status = "repeated" if body["id"] in server.kept else "accepted"
                    server.kept[body["id"]] = body
                    if failure is None:
                        self.close_connection = True
                        self.connection.close()
                        return
                    failure = (200, {}, {"id": body["id"], "episode": "ep_1", "status": status})
                self._answer(*failure)

            def _answer(self, status: int, headers: dict[str, str], answer: Any) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None: ...

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None: ...

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Chunk:
    id = "ep_1"


@pytest.mark.parametrize("reply", ["ep_1", {"id": "ep_1", "choices": []}, Chunk(), ("ep_1", 0)])
def test_each_kind_is_worded_for_the_server(server: Server, reply: Any) -> None:
    with Feedback(f"{server.url}/v1", "tml-x") as client:
        client.thumbs(reply, up=False)
        client.rate(reply, 0.7, rater="tom")
        client.correct(reply, "Seven.")
        client.compare(reply, ("ep_2", 1), "b")
        client.outcome(session="s", name="sold", value=1)
    bodies = [{name: value for name, value in body.items() if name != "id"} for _, _, body in server.calls]
    assert bodies == [
        {"target": "ep_1", "kind": "thumb", "value": False},
        {"target": "ep_1", "kind": "rating", "value": 0.7, "rater": "tom"},
        {"target": "ep_1", "kind": "correction", "text": "Seven."},
        {"target": "ep_2:1", "kind": "comparison", "value": "ep_1"},
        {"session": "s", "kind": "outcome", "text": "sold", "value": 1.0},
    ]
    assert {call[:2] for call in server.calls} == {("/v1/feedback", "Bearer tml-x")}


def test_the_same_said_twice_is_one_and_an_id_of_ones_own_is_kept(server: Server) -> None:
    with Feedback(server.url) as client:
        assert [client.thumbs("ep_1", up=True).status for _ in range(2)] == ["accepted", "repeated"]
        assert client.thumbs("ep_1", up=True, rater="tom").status == "accepted"
        assert client.thumbs("ep_1", up=True, id="mine").id == "mine"
    assert len(server.kept) == 3


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits here; the seconds are noted. Threads that other tests left behind sleep on as they did."""
    waited: list[float] = []
    here, sleep, pause = threading.get_ident(), time.sleep, asyncio.sleep

    def note(seconds: float) -> None:
        if threading.get_ident() != here:
            return sleep(seconds)
        return waited.append(seconds)

    async def note_too(seconds: float) -> None:
        if threading.get_ident() != here:
            return await pause(seconds)
        return waited.append(seconds)

    monkeypatch.setattr("anubhav.feedback.clients.time.sleep", note)
    monkeypatch.setattr("anubhav.feedback.clients.asyncio.sleep", note_too)
    return waited


FAILURES = [None, (503, {}, {}), (429, {"retry-after": "7"}, {}), (500, {}, {}), None]


def test_what_did_not_get_through_is_repeated_and_counts_once(server: Server, at_once: list[float]) -> None:
    server.failures = list(FAILURES)
    with Feedback(server.url) as client:
        receipt = client.correct("ep_1", "Seven.")
    assert (receipt.status, len(server.calls), len(server.kept)) == ("repeated", 6, 1)
    assert at_once[2] == 7.0
    assert at_once[0] < at_once[1] < at_once[3]


async def test_the_awaited_client_does_the_same(server: Server, at_once: list[float]) -> None:
    server.failures = list(FAILURES)
    async with AsyncFeedback(server.url) as client:
        assert (await client.thumbs("ep_1", up=True)).status == "repeated"
        assert (await client.rate("ep_1", 1.0)).status == "accepted"
        assert (await client.correct("ep_1", "x")).status == "accepted"
        assert (await client.compare("ep_1", "ep_2", "a")).status == "accepted"
        assert (await client.outcome("ep_1", name="ran", value=0)).status == "accepted"
    assert len(server.kept) == 5
    assert at_once[2] == 7.0


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "BadInput", BadInput), (400, "Mismatch", Mismatch), (401, "", NotAuthenticated), (403, "", NotAllowed),
        (404, "", NotFound), (418, "", Unavailable),
    ],
)  # fmt: skip
def test_what_is_refused_is_raised_at_once(server: Server, status: int, code: str, error: type[Exception]) -> None:
    server.failures = [(status, {}, {"error": {"message": "No. Do this", "hint": "Do this", "code": code}})]
    with Feedback(server.url) as client, pytest.raises(error, match="No") as caught:
        client.thumbs("ep_1", up=True)
    assert (caught.value.hint, len(server.calls)) == ("Do this", 1)  # type: ignore[attr-defined]


def test_a_server_that_is_not_there_is_said_after_some_tries(server: Server, at_once: list[float]) -> None:
    server.failures = [(503, {}, {})] * 3
    with Feedback(server.url, retries=2) as client, pytest.raises(Unavailable):
        client.thumbs("ep_1", up=True)
    with Feedback("http://127.0.0.1:1", retries=1) as client, pytest.raises(Unavailable, match="No server"):
        client.thumbs("ep_1", up=True)
    assert len(at_once) == 3


def test_what_makes_no_sense_is_not_sent(server: Server) -> None:
    with Feedback(server.url) as client:
        for wrong in (
            lambda: client.thumbs(None, up=True),
            lambda: client.thumbs({}, up=True),
            lambda: client.thumbs("ep_1", up=1),  # type: ignore[arg-type]
            lambda: client.rate("ep_1", 4),
            lambda: client.correct("ep_1", "  "),
            lambda: client.compare("ep_1", "ep_2", "c"),  # type: ignore[arg-type]
            lambda: client.compare(("ep_1", -1), "ep_2", "a"),
            lambda: client.outcome(name="x", value=1),
            lambda: client.outcome("ep_1", session="s", name="x", value=1),
        ):
            with pytest.raises(BadInput):
                wrong()
    with pytest.raises(BadInput):
        Feedback("localhost:8000")
    assert server.calls == []


def test_the_functions_find_their_server_in_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANUBHAV_BASE_URL", raising=False)
    monkeypatch.delenv("ANUBHAV_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/oai/api/v1/")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    feedback.thumbs("ep_1", up=True)
    monkeypatch.setenv("ANUBHAV_API_KEY", "tml-2")
    feedback.rate("ep_1", 0.5)
    feedback.correct("ep_1", "x")
    feedback.compare("ep_1", "ep_2", "a")
    feedback.outcome(session="s", name="x", value=1)
    assert [call[:2] for call in server.calls] == [
        ("/v1/feedback", "Bearer sk-1"), *[("/v1/feedback", "Bearer tml-2")] * 4,
    ]  # fmt: skip


def test_it_loads_nothing_of_the_server() -> None:
    probe = "import sys, anubhav.feedback; print(sorted(m for m in sys.modules if m.startswith('anubhav')))"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str([
        "anubhav", "anubhav.errors", "anubhav.feedback", "anubhav.feedback.clients", "anubhav.feedback.once",
        "anubhav.feedback.showing", "anubhav.feedback.wording",
    ])  # fmt: skip
