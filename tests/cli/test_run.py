"""A chat in a terminal: with the whole house, and with a server that takes its time."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_model import write_model
from loopback import Loopback, hosted

from anubhav.cli import main


class Terminal:
    def __init__(self, url: str, key: str) -> None:
        self._own, other = pty.openpty()
        environment = {**os.environ, "ANUBHAV_BASE_URL": url, "ANUBHAV_API_KEY": key, "TERM": "dumb"}
        command = [sys.executable, "-m", "anubhav", "run", "--max-tokens", "20"]
        self.process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True
        )
        os.close(other)

    def until(self, words: str, seconds: float = 30) -> str:
        """What is shown until these words are there."""
        shown, end = "", time.monotonic() + seconds
        while words not in shown:
            ready = select.select([self._own], [], [], max(0, end - time.monotonic()))[0]
            assert ready, f"{words!r} did not come: {shown!r}"
            shown += os.read(self._own, 65536).decode()
        return shown

    def type(self, line: str) -> None:
        os.write(self._own, line.encode() + b"\n")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("run")
    write_model(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback


def test_a_chat_and_what_is_thought_of_it(house: Loopback) -> None:
    terminal = Terminal(house.url, house.key)
    try:
        terminal.until(">>> ")
        terminal.type("/good")
        assert "no whole reply yet" in terminal.until(">>> ")
        terminal.type("hello there")
        terminal.until("\n>>> ")
        for judgement in ("/good", "/bad", "/correct Hi, Ann."):
            terminal.type(judgement)
            assert "accepted: fb_" in terminal.until("\n>>> ")
        terminal.type('"""two\nlines"""')
        terminal.until("\n>>> ")
        terminal.type("/nonsense")
        assert "There is no /nonsense" in terminal.until("\n>>> ")
        terminal.type("/new")
        assert "A new conversation." in terminal.until("\n>>> ")
        terminal.type("and again")
        terminal.until("\n>>> ")
        terminal.type("/bye")
        assert terminal.process.wait(20) == 0
    finally:
        terminal.close()
    kept = house.run(house.house.recorder.recent(9))
    asked = [[message.content for message in episode.messages if message.role == "user"] for episode, _ in kept]
    assert asked == [["and again"], ["hello there", "two\nlines"], ["hello there"]]
    assert [episode.session == kept[1][0].session for episode, _ in kept] == [False, True, True]
    assert {(one.kind, one.value, one.text) for one in kept[2][1]} == {
        ("thumb", 1, None), ("thumb", 0, None), ("correction", None, "Hi, Ann."),
    }  # fmt: skip


def invoke(house: Loopback, *arguments: str, typed: str = "") -> tuple[int, str]:
    environment = {"ANUBHAV_BASE_URL": house.url, "ANUBHAV_API_KEY": house.key}
    result = CliRunner().invoke(main, ["run", *arguments], input=typed, env=environment)
    return result.exit_code, result.output


def test_one_answer_from_an_option_or_a_pipe(house: Loopback) -> None:
    code, said = invoke(house, "tiny", "--once", "hello", "--max-tokens", "5")
    assert code == 0
    assert ">>>" not in said
    assert invoke(house, "--max-tokens", "2", typed="hello from a pipe\n")[0] == 0
    (newest, _), *_ = house.run(house.house.recorder.recent(1))
    assert newest.messages[-1].content == "hello from a pipe"
    assert len(newest.choices[0].tokens) <= 2
    assert invoke(house, typed=" \n")[0] == 2


def test_an_unknown_model_is_told_at_once(house: Loopback) -> None:
    code, said = invoke(house, "no-such-model", "--once", "hello")
    assert code == 1
    assert "no-such-model" in said


def test_without_a_server_it_says_how_to_start_one() -> None:
    result = CliRunner().invoke(main, ["run", "--once", "hi", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 4
    assert "anubhav serve" in result.output


class Slow(BaseHTTPRequestHandler):
    """Says one word and then nothing until the client hangs up."""

    hung_up = threading.Event()

    def do_GET(self) -> None:
        self._head("application/json", 2)
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._head("text/event-stream", 10**6)
        self.wfile.write(b'data: {"id":"ep_1","choices":[{"delta":{"content":"slowly"}}]}\n\n')
        self.wfile.flush()
        self.connection.settimeout(20)
        if self.connection.recv(1) == b"":
            Slow.hung_up.set()

    def _head(self, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_ctrl_c_stops_the_answer_and_not_the_chat() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    terminal = Terminal(f"http://127.0.0.1:{server.server_address[1]}", "tml-test")
    try:
        terminal.until(">>> ")
        terminal.type("hello")
        terminal.until("slowly")
        terminal.interrupt()
        assert "stopped" in terminal.until("\n>>> ")
        assert Slow.hung_up.wait(10)
        terminal.interrupt()
        assert "/bye" in terminal.until("\n>>> ")
        terminal.type("/good")
        assert "no whole reply yet" in terminal.until("\n>>> ")
        terminal.type("/bye")
        assert terminal.process.wait(20) == 0
    finally:
        terminal.close()
        server.shutdown()
        serving.join()
        server.server_close()


def test_a_file_can_be_piped_in(house: Loopback, tmp_path: Path) -> None:
    (tmp_path / "question").write_text("hello")
    environment = {**os.environ, "ANUBHAV_BASE_URL": house.url, "ANUBHAV_API_KEY": house.key}
    with (tmp_path / "question").open() as question:
        command = [sys.executable, "-m", "anubhav", "run", "--max-tokens", "3"]
        done = subprocess.run(command, stdin=question, capture_output=True, env=environment, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
