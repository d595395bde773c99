"""Nodes, and the server itself, are taken away while the unmodified SDK trains and samples: nobody sees anything of it.

Nodes are Ray's own, as its tests have them, and have room for one host each; what computes is a table.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tinker
from fake_model import write_model
from served import HEADERS, KEY, Server, posts, train, weights
from three_nodes import ray_nodes
from tinker import types

pytestmark = pytest.mark.tinker_sdk
TOLD = {"RAY_AUTH_MODE": "disabled"}
SOON = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A dead node is missed after two seconds."""


@dataclass(frozen=True)
class Deployment:
    cluster: Any
    server: Server
    data: Path
    quiet: list[float]
    """Losses of a run that nobody disturbed."""
    path: str
    """Its weights."""
    said: list[list[int]]

    @property
    def url(self) -> str:
        return self.server.url

    def node_of(self, post: str) -> Any:
        """Ray's object of the node that it stands on."""
        there = posts(self.url)[post]["node_id"]
        return next(node for node in self.cluster.worker_nodes if node.node_id.startswith(there))

    def nodes(self) -> list[dict[str, Any]]:
        return httpx2.get(f"{self.url}/v1/cluster", headers=HEADERS, timeout=60).json()["nodes"]

    def has_free(self, count: int) -> None:
        """So many nodes have room, added or taken away for it."""
        empty = [row["node_id"] for row in self.nodes() if row["processors"] and not row["posts"]]
        for node in list(self.cluster.worker_nodes):
            if any(node.node_id.startswith(one) for one in empty[count:]):
                self.cluster.remove_node(node)
        for _ in range(count - len(empty)):
            self.cluster.add_node(num_cpus=1)
        wait(lambda: sum(row["room"] for row in self.nodes()) == count)

    def drain(self, node: Any) -> httpx2.Response:
        return httpx2.post(f"{self.url}/v1/cluster/nodes/{node.node_id}/drain", headers=HEADERS, timeout=120)

    def sample(self) -> list[list[int]]:
        """Seeded samples of the trained weights."""
        with tinker.ServiceClient(base_url=self.url, api_key=KEY) as service:
            client = service.create_sampling_client(model_path=self.path).result()
            return ask(client)

    @contextmanager
    def listened(self) -> Iterator[None]:
        """Somebody asks for the same samples again and again, and gets the same again and again."""
        heard: list[list[list[int]] | Exception] = []
        done = threading.Event()

        def listen() -> None:
            try:
                with tinker.ServiceClient(base_url=self.url, api_key=KEY) as service:
                    client = service.create_sampling_client(model_path=self.path).result()
                    while not done.is_set():
                        heard.append(ask(client))
            except Exception as problem:  # noqa: BLE001 - looked at below
                heard.append(problem)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield
        finally:
            done.set()
            listener.join(120)
        assert heard
        assert all(one == self.said for one in heard), heard[-1]

    def is_undisturbed_by(self, strike: Callable[[int], None]) -> None:
        """A run with strikes ends as the one without."""
        before = set(weights(self.data))
        with self.listened():
            struck, _ = train(self.url, strike)
        assert struck == self.quiet
        assert set(weights(self.data)) == before  # of one content


def ask(client: tinker.SamplingClient) -> list[list[int]]:
    params = types.SamplingParams(max_tokens=60, temperature=1.0, seed=5)
    asked = client.sample(types.ModelInput.from_ints([3, 1, 4, 1, 5]), num_samples=4, sampling_params=params)
    return [list(one.tokens) for one in asked.result().sequences]


def wait(until: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("taken-away")
    write_model(folder / "tiny")
    with ray_nodes(0, 3, **SOON) as cluster:
        server = Server(folder / "tiny", folder / "data", "--cluster", cluster.address, told=TOLD)
        try:
            quiet, path = train(server.url)
            calm = Deployment(cluster, server, folder / "data", quiet, path, [])
            yield Deployment(cluster, server, folder / "data", quiet, path, calm.sample())
        finally:
            server.close()


def test_nodes_are_drained_and_taken_away_under_a_training_loop(there: Deployment) -> None:
    there.has_free(1)
    terms = {post: row["term"] for post, row in posts(there.url).items()}

    def strike(step: int) -> None:
        if step == 3:
            node = there.node_of("tiny trainer")
            assert there.drain(node).json()["moved"] == ["tiny trainer"]
            assert there.node_of("tiny trainer") is not node
            there.cluster.remove_node(node)
            refused = there.drain(there.node_of("tiny sampler 1"))
            assert refused.status_code == 503
            assert "Add a node with 1 processors" in refused.text
        if step == 7:
            there.cluster.add_node(num_cpus=1)
            node = there.node_of("tiny sampler 1")
            command = [sys.executable, "-m", "anubhav", "cluster", "drain", node.node_id[:10], "--url", there.url]
            done = subprocess.run(command, env={**os.environ, "ANUBHAV_API_KEY": KEY}, capture_output=True, text=True)
            assert "tiny sampler 1 has moved" in done.stdout, done.stderr
            assert there.node_of("tiny sampler 1") is not node
            there.cluster.remove_node(node)

    there.is_undisturbed_by(strike)
    assert {post: row["term"] - terms[post] for post, row in posts(there.url).items()} == dict.fromkeys(terms, 1)


def test_a_node_that_is_drained_can_be_taken_again(there: Deployment) -> None:
    there.has_free(1)
    (empty,) = [row["node_id"] for row in there.nodes() if row["room"]]
    address = f"{there.url}/v1/cluster/nodes/{empty}/drain"
    assert httpx2.post(address, headers=HEADERS, timeout=60).json()["moved"] == []
    assert [row["draining"] for row in there.nodes() if row["node_id"] == empty] == [True]
    assert there.drain(there.node_of("tiny trainer")).status_code == 503
    assert httpx2.delete(address, headers=HEADERS, timeout=60).status_code == 200
    assert [row["room"] for row in there.nodes() if row["node_id"] == empty] == [1]


@pytest.mark.parametrize("post", ["tiny trainer", "tiny sampler 1"])
def test_a_node_that_dies_is_not_noticed_and_its_post_waits_for_room(there: Deployment, post: str) -> None:
    there.has_free(0)
    term = posts(there.url)[post]["term"]

    def strike(step: int) -> None:
        if step == 3:
            there.cluster.remove_node(there.node_of(post), allow_graceful=False)
            wait(lambda: not posts(there.url)[post]["alive"])
            there.cluster.add_node(num_cpus=1)

    there.is_undisturbed_by(strike)
    after = posts(there.url)[post]
    assert (after["alive"], after["term"]) == (True, term + 1)


def test_a_server_that_is_killed_leaves_nobody_behind_and_its_clients_wait(there: Deployment) -> None:
    there.has_free(0)

    def strike(step: int) -> None:
        if step == 3:
            before = [row["pid"] for row in posts(there.url).values()]
            there.server.kill()
            there.server.start()
            assert [row["alive"] for row in posts(there.url).values()] == [True, True]
            wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))

    there.is_undisturbed_by(strike)
