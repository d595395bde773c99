"""The demo's own server: a process like any other `anubhav serve`, on a free port, with a data folder of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from anubhav.errors import Broken
from anubhav.settings import key_file

_ADDRESS = re.compile(r"(http://[\w.:\[\]]+)/\?token=\S+")
_STOP_SECONDS = 35


@dataclass(frozen=True, slots=True)
class Stage:
    url: str
    sign_in: str
    """The console's address; it signs one browser in."""
    key: str


@contextmanager
def start(data_dir: Path, model: Path) -> Generator[Stage]:
    """A server on `model`, stopped at the end, and when the demo is told to stop or its terminal is closed.

    Raises Broken with the end of its log when it does not come up.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    data_dir.mkdir(parents=True, exist_ok=True)
    log_file = data_dir / "server.log"
    command = [sys.executable, "-m", "anubhav", "serve", "--port", "0"]
    command += ["--data-dir", str(data_dir), "--model", str(model)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True)
    try:
        yield _await_address(process, data_dir, log_file)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _leave(number: int, _: FrameType | None) -> None:
    # Python would end here without running what closes the server.
    sys.exit(128 + number)


def _await_address(process: "subprocess.Popen[str]", data_dir: Path, log_file: Path) -> Stage:
    assert process.stdout is not None, "the process was started with a pipe"
    for line in process.stdout:
        if found := _ADDRESS.search(line):
            return Stage(found[1], found[0], key_file(data_dir).read_text(encoding="ascii").strip())
    tail = log_file.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise Broken(f"The demo's server stopped before it was ready:\n{tail}", hint="Try: anubhav serve --verbose")
