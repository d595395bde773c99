"""The promise that nothing acknowledged is lost, kept against `kill -9`.

A training loop of the unmodified SDK and a stream of feedback run while the server is killed at random moments and
started again. The final weights must be those of a run nobody disturbed, and each feedback must be there once.
"""

import hashlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tinker
from fake_model import write_model
from served import batch
from tinker import types
from tiny_llama import write_llama

pytestmark = pytest.mark.tinker_sdk

KEY = "tml-reliability-test"
MODEL = "tiny"
KILLS = {"fake": 20, "torch": 6}
"""By backend. The torch engine takes seconds to come up."""
SEED = 7


class Server:
    """`python -m anubhav serve` in a process of its own, on one port for all its lives."""

    def __init__(self, model: Path, data: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        self._log = data.with_suffix(".log")
        self._command = [sys.executable, "-m", "anubhav", "serve", "--port", str(self.port), "--data-dir", str(data)]
        self._command += ["--model", str(model), "--alias", f"{MODEL}={model}"]
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            environment = os.environ | {"ANUBHAV_API_KEY": KEY}
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)

    def wait(self, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if httpx2.get(f"{self.url}/healthz", timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the server did not come up: {self._log.read_text()[-3000:]}")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(35)


@pytest.fixture(params=["fake", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def serve(tmp_path: Path, backend: str) -> Iterator[Callable[[str], Server]]:
    write_model(tmp_path / "model")
    if backend == "torch":
        write_llama(tmp_path / "model", vocab=258, context=512)
    servers: list[Server] = []

    def start(name: str) -> Server:
        servers.append(Server(tmp_path / "model", tmp_path / name))
        servers[-1].wait()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def train(url: str, go_on: Callable[[int], bool]) -> tuple[int, list[float], str]:
    """Steps while `go_on(step)`; the number of steps, their losses and the path of the final weights."""
    losses: list[float] = []
    with tinker.ServiceClient(base_url=url, api_key=KEY) as service:
        client = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
        while go_on(len(losses)):
            step = len(losses)
            # Two passes and a step in flight together: any of them may be what a kill cuts off.
            passes = [client.forward_backward(batch(step + part), "cross_entropy") for part in (0, 10_000)]
            update = client.optim_step(types.AdamParams(learning_rate=1e-2))
            losses.append(sum(one.result().metrics["loss:sum"] for one in passes))
            update.result()
            if step % 10 == 9:
                client.save_state(f"step-{step}").result()
        return len(losses), losses, client.save_weights_for_sampler("final").result().path


def weights(server: Server, path: str) -> str:
    """SHA-256 of a checkpoint's weights; the server must be stopped."""
    with sqlite3.connect(server.data / "anubhav.db") as connection:
        [[folder]] = connection.execute("SELECT folder FROM checkpoints WHERE path = ?", (path,)).fetchall()
    return hashlib.sha256((server.data / folder / "adapter_model.safetensors").read_bytes()).hexdigest()


class Rater(threading.Thread):
    """Says something about a reply again and again, each time with an id of its own, until it is acknowledged."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.trouble: Exception | None = None
        self._done = threading.Event()
        self._client = httpx2.Client(base_url=url, headers={"x-api-key": KEY}, timeout=10)

    def run(self) -> None:
        try:
            chat = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
            reply = self._insist("/v1/chat/completions", chat)["id"]
            while not self._done.wait(0.02):
                name = f"fb-{len(self.acknowledged)}"
                self._insist("/v1/feedback", {"id": name, "target": reply, "kind": "thumb", "value": 1, "rater": name})
                self.acknowledged.append(name)
        except Exception as problem:  # noqa: BLE001 - handed to the test
            self.trouble = problem

    def _insist(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                answer = self._client.post(path, json=body)
            except httpx2.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code == 503:
                time.sleep(0.1)
                continue
            assert answer.status_code < 300, answer.text
            return answer.json()
        raise AssertionError(f"{path} was not answered for a minute")

    def finish(self) -> list[str]:
        self._done.set()
        self.join(70)
        if self.trouble:
            raise self.trouble
        return self.acknowledged


class Killer(threading.Thread):
    def __init__(self, server: Server, kills: int) -> None:
        super().__init__(daemon=True)
        self.kills = 0
        self._server, self._wanted = server, kills
        self._chance = random.Random(SEED)

    def run(self) -> None:
        for _ in range(self._wanted):
            self._server.wait()
            time.sleep(self._chance.uniform(0.02, 4.0))
            self._server.kill()
            self.kills += 1
            self._server.start()
        self._server.wait()


def test_kills_lose_and_double_nothing(serve: Callable[[str], Server], backend: str) -> None:
    disturbed = serve("disturbed")
    rater, killer = Rater(disturbed.url), Killer(disturbed, KILLS[backend])
    rater.start()
    killer.start()
    steps, losses, path = train(disturbed.url, lambda step: killer.is_alive() or step < 20)
    killer.join()
    acknowledged = rater.finish()
    disturbed.close()
    assert killer.kills == KILLS[backend]

    calm = serve("calm")
    _, calm_losses, calm_path = train(calm.url, lambda step: step < steps)
    calm.close()
    assert losses == calm_losses
    assert weights(disturbed, path) == weights(calm, calm_path)

    with sqlite3.connect(disturbed.data / "anubhav.db") as connection:
        stored = [row[0] for row in connection.execute("SELECT id FROM feedback ORDER BY seq")]
    assert stored == acknowledged
    assert len(acknowledged) > KILLS[backend]
