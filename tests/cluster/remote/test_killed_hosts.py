"""Processes of a cluster are killed while the unmodified SDK trains and samples: its user sees nothing of it.

The server is `anubhav serve --cluster local`, and what it computes is compared with a server that has no cluster.
"""

import gc
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tinker
from fake_model import write_model
from tinker import types
from tiny_llama import write_llama

# The SDK leaves its connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
KEY = "tml-cluster-test-0123456789abcdef"
HEADERS = {"x-api-key": KEY}
STEPS, LONG = 12, 400


@contextmanager
def served(model: Path, data: Path, *options: str) -> Iterator[str]:
    """The URL of a server in a process of its own."""
    command = [sys.executable, "-m", "anubhav", "serve", "--port", "0", "--model", str(model), "--data-dir", str(data)]
    environment = {**os.environ, "ANUBHAV_API_KEY": KEY}
    environment.pop("RAY_AUTH_MODE", None)
    log = data.with_suffix(".log")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout)
        line = next((line for line in lines if "Status page" in line), None)
        assert line is not None, log.read_text()[-3000:]
        yield line.split()[2].partition("/?")[0]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@pytest.fixture(scope="module", autouse=True)
def collect_what_the_sdk_leaves() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "tiny"
    write_model(folder)
    write_llama(folder, vocab=258, context=512)
    return folder


@pytest.fixture(scope="module")
def far(model: Path) -> Iterator[str]:
    with served(model, model.parent / "far", "--cluster", "local", "--samplers", "2") as url:
        yield url


@pytest.fixture(scope="module")
def near(model: Path) -> Iterator[str]:
    with served(model, model.parent / "near") as url:
        yield url


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


def train(url: str, meanwhile: Callable[[int], None] = lambda _: None) -> tuple[list[float], str]:
    """The losses of a run and the path of its weights."""
    losses: list[float] = []
    with tinker.ServiceClient(base_url=url, api_key=KEY) as service:
        client = service.create_lora_training_client("tiny", rank=4, seed=1).result()
        for step in range(STEPS):
            passes = [client.forward_backward(batch(step + part), "cross_entropy") for part in (0, 10_000)]
            update = client.optim_step(types.AdamParams(learning_rate=1e-2))
            meanwhile(step)
            losses.append(sum(one.result().metrics["loss:sum"] for one in passes))
            update.result()
        return losses, client.save_weights_for_sampler("final").result().path


def weights(data: Path) -> list[str]:
    """SHA-256 of every checkpoint's weights; the server holds its database, the files lie open."""
    files = (data / "checkpoints").rglob("adapter_model.safetensors")
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def sample(url: str, path: str, meanwhile: Callable[[], None] = lambda: None) -> list[list[int]]:
    """Seeded samples of trained weights."""
    with tinker.ServiceClient(base_url=url, api_key=KEY) as service:
        client = service.create_sampling_client(model_path=path).result()
        params = types.SamplingParams(max_tokens=LONG, temperature=1.0, seed=5)
        asked = client.sample(types.ModelInput.from_ints([3, 1, 4, 1, 5]), num_samples=4, sampling_params=params)
        meanwhile()
        return [list(one.tokens) for one in asked.result().sequences]


def test_a_trainer_that_is_killed_is_not_noticed_by_who_trains(model: Path, near: str, far: str) -> None:
    before = posts(far)["tiny trainer"]["term"]

    def strike(step: int) -> None:
        if step in (3, 8):
            kill(far, "tiny trainer")

    alone, _ = train(near)
    quiet, _ = train(far)
    struck, _ = train(far, strike)
    assert quiet == pytest.approx(alone, rel=1e-5)
    assert struck == quiet
    one, other = weights(model.parent / "far")
    assert one == other
    after = posts(far)["tiny trainer"]
    assert (after["alive"], after["term"]) == (True, before + 2)


def test_a_sampler_that_is_killed_is_not_noticed_by_who_listens(far: str) -> None:
    _, path = train(far)
    quiet = sample(far, path)
    assert all(quiet)

    def strike() -> None:
        """Whoever is at it; they may be too quick for us."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            busy = [row["pid"] for name, row in posts(far).items() if "sampler" in name and row["streams"]]
            if busy:
                os.kill(busy[0], signal.SIGKILL)
                return

    for _ in range(10):
        assert sample(far, path, strike) == quiet
        if any(row["term"] > 1 for name, row in posts(far).items() if "sampler" in name):
            return
    raise AssertionError("no sampler was killed at its work")


def test_a_chat_is_answered_and_the_command_shows_the_posts(far: str) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    reply = httpx2.post(f"{far}/v1/chat/completions", json=body, headers=HEADERS, timeout=120)
    assert reply.status_code == 200
    shown = subprocess.run(
        [sys.executable, "-m", "anubhav", "cluster", "status", "--url", far, "-f", "json"],
        env={**os.environ, "ANUBHAV_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [row["post"] for row in json.loads(shown.stdout)] == ["tiny trainer", "tiny sampler 1", "tiny sampler 2"]
