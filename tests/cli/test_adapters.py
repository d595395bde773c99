"""The key of a server is never sent elsewhere, and what is no adapter is told before anything is sent."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from anubhav.cli import main
from anubhav.cli.failures import ServerRefused
from anubhav.cli.remote import Remote


class Redirects:
    """Two servers: the first sends whoever asks to an address of the second."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        redirects = self

        class Elsewhere(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                redirects.asked.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        class First(Elsewhere):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("location", f"{redirects.urls[1]}/taken")
                self.end_headers()

        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (First, Elsewhere)]
        self.urls = [f"http://127.0.0.1:{server.server_address[1]}" for server in self.servers]
        self.threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in self.servers
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        for server, thread in zip(self.servers, self.threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def redirects() -> Iterator[Redirects]:
    redirects = Redirects()
    yield redirects
    redirects.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_download_stays_with_its_server(redirects: Redirects) -> None:
    with pytest.raises(ServerRefused, match="302"):
        Remote(redirects.urls[0], "tml-secret").save("/v1/x/archive", io.BytesIO())
    assert redirects.asked == []


def test_a_folder_without_an_adapter_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    # Nobody listens at this address, so reaching for it would fail in another way.
    environment = {"ANUBHAV_BASE_URL": "http://127.0.0.1:1", "ANUBHAV_API_KEY": "tml-x"}
    done = CliRunner().invoke(main, ["import", str(tmp_path), "--base", "m", "--name", "n"], env=environment)
    assert done.exit_code == 1
    assert "lacks adapter_model.safetensors" in done.output
