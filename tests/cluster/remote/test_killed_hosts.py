"""Processes of a cluster are killed while the unmodified SDK trains and samples: its user sees nothing of it.

The server is `anubhav serve --cluster local`, and what it computes is compared with a server that has no cluster.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import tinker
from processors import takes_two
from served import HEADERS, KEY, apart, kill, posts, served, train, weight_files, weights
from tinker import types
from tiny_llama import write_talking_llama

pytestmark = pytest.mark.tinker_sdk
LONG = 400


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talking_llama(tmp_path_factory.mktemp("cluster") / "tiny")


@pytest.fixture(scope="module")
def far(model: Path) -> Iterator[str]:
    with served(model, model.parent / "far", "--cluster", "local", "--samplers", "2") as url:
        yield url


@pytest.fixture(scope="module")
def near(model: Path) -> Iterator[str]:
    with served(model, model.parent / "near") as url:
        yield url


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


@takes_two
def test_a_rank_that_is_killed_is_not_noticed_by_who_trains(model: Path, near: str) -> None:
    """The trainer is a gang of actors, which is put up whole again."""
    data = model.parent / "gang"

    def strike(step: int) -> None:
        if step == 1:
            kill(url, "tiny trainer rank 1")

    alone, _ = train(near, steps=3)
    whole = newest(model.parent / "near")
    with served(model, data, "--cluster", "local", "--layout", "fsdp=2") as url:
        assert set(posts(url)) == {"tiny trainer rank 0", "tiny trainer rank 1", "tiny sampler 1"}
        quiet, _ = train(url, steps=3)
        first = newest(data)
        struck, path = train(url, strike, steps=3)
        assert [row["term"] for name, row in posts(url).items() if "rank" in name] == [2, 2]
        assert all(sample(url, path))
    assert quiet == pytest.approx(alone, rel=1e-5)
    assert struck == quiet
    assert newest(data).read_bytes() == first.read_bytes()
    assert apart(first, whole) < 1e-5


def newest(data: Path) -> Path:
    """The weights of the checkpoint that was saved last."""
    return max(weight_files(data), key=lambda file: file.stat().st_mtime_ns)


def test_a_sampler_that_is_killed_is_not_noticed_by_who_listens(far: str) -> None:
    _, path = train(far)
    quiet = sample(far, path)
    assert all(quiet)

    def strike() -> None:
        """Whoever is at it; they may be too quick for us."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            busy = [row["pid"] for name, row in posts(far).items() if "sampler" in name and row.get("streams")]
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
