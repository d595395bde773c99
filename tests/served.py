"""`anubhav serve` in a process of its own, and the unmodified Tinker SDK that trains there."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import tinker
from safetensors import safe_open
from tinker import types

KEY = "tml-cluster-test-0123456789abcdef"
HEADERS = {"x-api-key": KEY}
STEPS = 12


class Server:
    """`anubhav serve` in a process of its own, at one address for all its lives."""

    def __init__(self, model: Path, data: Path, *options: str, told: Mapping[str, str] | None = None) -> None:
        """`told`: more of its environment."""
        self._command = [sys.executable, "-m", "anubhav", "serve", "--model", str(model), "--data-dir", str(data)]
        self._command += options
        self._environment = {**os.environ, "ANUBHAV_API_KEY": KEY}
        self._environment.pop("RAY_AUTH_MODE", None)
        self._environment |= told or {}
        self._log = data.with_suffix(".log")
        self._port = "0"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as errors:
            command, environment = [*self._command, "--port", self._port], self._environment
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        assert self._process.stdout is not None
        line = next((line for line in self._process.stdout if "The console" in line), None)
        if line is None:
            self.close()
            raise AssertionError(self._log.read_text()[-3000:])
        self.url = line.split()[2].partition("/?")[0]
        self._port = self.url.rpartition(":")[2]

    def kill(self) -> None:
        """As a machine that loses its power."""
        self._process.kill()
        self._gone()

    def close(self) -> None:
        self._process.terminate()
        self._gone()

    def _gone(self) -> None:
        self._process.wait(60)
        if self._process.stdout:
            self._process.stdout.close()


@contextmanager
def served(model: Path, data: Path, *options: str, told: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a server in a process of its own."""
    server = Server(model, data, *options, told=told)
    try:
        yield server.url
    finally:
        server.close()


def posts(url: str) -> dict[str, dict[str, Any]]:
    return {row["post"]: row for row in httpx2.get(f"{url}/v1/cluster", headers=HEADERS, timeout=60).json()["data"]}


def kill(url: str, post: str) -> None:
    os.kill(posts(url)[post]["pid"], signal.SIGKILL)


def batch(step: int) -> list[types.Datum]:
    chance = random.Random(step)
    rows = [[chance.randrange(2, 200) for _ in range(9)] for _ in range(4)]
    return [
        types.Datum(
            model_input=types.ModelInput.from_ints(row[:-1]),
            loss_fn_inputs={"target_tokens": row[1:], "weights": [1.0] * 8},
        )
        for row in rows
    ]


def train(
    url: str, meanwhile: Callable[[int], None] = lambda _: None, *, steps: int = STEPS
) -> tuple[list[float], str]:
    """The losses of a run and the path of its weights."""
    losses: list[float] = []
    with tinker.ServiceClient(base_url=url, api_key=KEY) as service:
        client = service.create_lora_training_client("tiny", rank=4, seed=1).result()
        for step in range(steps):
            passes = [client.forward_backward(batch(step + part), "cross_entropy") for part in (0, 10_000)]
            update = client.optim_step(types.AdamParams(learning_rate=1e-2))
            meanwhile(step)
            losses.append(sum(one.result().metrics["loss:sum"] for one in passes))
            update.result()
        return losses, client.save_weights_for_sampler("final").result().path


def weight_files(data: Path) -> list[Path]:
    """Of every checkpoint; the server holds its database, the files lie open."""
    return sorted((data / "checkpoints").rglob("adapter_model.safetensors"))


def apart(one: Path, other: Path) -> float:
    """The largest difference of a cell between two files of weights."""
    with safe_open(one, framework="pt") as left, safe_open(other, framework="pt") as right:
        assert set(left.keys()) == set(right.keys())
        return max(float((left.get_tensor(name) - right.get_tensor(name)).abs().max()) for name in left.keys())  # noqa: SIM118


def weights(data: Path) -> list[str]:
    """SHA-256 of each."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in weight_files(data)]
