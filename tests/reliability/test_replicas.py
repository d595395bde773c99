"""Two servers over one Postgres and one data folder: whichever of the three is killed, who trains sees no exception.

The client speaks to the one that stands by. Losses and weights are those of a run that nobody disturbed.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fake_model import write_model
from served import HEADERS, KEY, train, weights
from throwaway_postgres import ThrowawayPostgres

pytestmark = pytest.mark.tinker_sdk


class Replica:
    def __init__(self, model: Path, data: Path, store: str, name: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = data.parent / f"{name}.log"
        self._command = [sys.executable, "-m", "anubhav", "serve", "--port", str(port), "--data-dir", str(data)]
        self._command += ["--model", str(model), "--alias", f"tiny={model}"]
        self._environment = os.environ | {"ANUBHAV_API_KEY": KEY, "ANUBHAV_STORE": store}
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def wait(self, *, leads: bool) -> None:
        """Until it leads, or answers for the one that does."""
        until, sign = time.monotonic() + 120, "is ready" if leads else "stands by"
        while time.monotonic() < until:
            if sign in self._log.read_text():
                return
            assert self.process.poll() is None, self._log.read_text()[-3000:]
            time.sleep(0.1)
        raise AssertionError(self._log.read_text()[-3000:])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path / "data"


@pytest.fixture
def pair(data: Path, postgres: ThrowawayPostgres) -> Iterator[tuple[Replica, Replica]]:
    """(leads, stands by)"""
    store = postgres.create()
    first = Replica(data.parent / "model", data, store, "first")
    try:
        first.wait(leads=True)
        second = Replica(data.parent / "model", data, store, "second")
        try:
            second.wait(leads=False)
            yield first, second
        finally:
            second.close()
    finally:
        first.close()


def test_neither_postgres_nor_the_leader_is_missed(
    pair: tuple[Replica, Replica], postgres: ThrowawayPostgres, data: Path
) -> None:
    leader, other = pair

    def strike_postgres(step: int) -> None:
        if step == 4:
            postgres.kill()
            time.sleep(0.3)
            postgres.start()

    def strike_leader(step: int) -> None:
        if step == 4:
            leader.kill()

    quiet, _ = train(other.url)
    without_postgres, _ = train(other.url, strike_postgres)
    assert leader.process.poll() is None
    without_leader, _ = train(other.url, strike_leader)
    other.wait(leads=True)
    assert quiet == without_postgres == without_leader
    assert len(set(weights(data))) == 1
    assert len(weights(data)) == 3

    # Who was killed comes back and stands by: its clients find the same, and a stream comes through it in pieces.
    leader.start()
    leader.wait(leads=False)
    with httpx2.Client(base_url=leader.url, headers=HEADERS, timeout=60) as client:
        assert client.get("/healthz").status_code == 200
        asked = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        reply = client.post("/v1/chat/completions", json=asked).json()
        assert reply["choices"]
        with client.stream("POST", "/v1/chat/completions", json={**asked, "stream": True}) as stream:
            pieces = list(stream.iter_lines())
        assert pieces[-2:] == ["data: [DONE]", ""]
        # The leader checks who asks, whoever passed it on.
        assert client.get("/v1/models", headers={"x-api-key": "tml-not-the-key-0123456789abcdef"}).status_code == 401
        backup = client.get("/v1/backup")
        assert (backup.status_code, "pg_dump" in backup.text) == (400, True)
