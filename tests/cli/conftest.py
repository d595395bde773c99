import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Counter:
    """A server on loopback that gives each address a fixed answer and remembers what it was sent."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.calls: list[tuple[str, str, Any]] = []
        counter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_DELETE(self) -> None:
                self._answer(None)

            def do_PUT(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, body: Any) -> None:
                counter.calls.append((f"{self.command} {self.path}", self.headers.get("x-api-key", ""), body))
                status, answer = counter.answers.get(f"{self.command} {self.path.partition('?')[0]}", (404, {}))
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """The commands of the test talk to this server, with the key `tml-test`."""
    counter = Counter()
    monkeypatch.setenv("ANUBHAV_BASE_URL", counter.url)
    monkeypatch.setenv("ANUBHAV_API_KEY", "tml-test")
    yield counter
    counter.close()
