"""What is let go on the way, by a client that breaks off or by a server that makes room, leaves nothing behind."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tinker
from deadlines import within
from loopback import Loopback
from tinker import types

from anubhav.serving import voices

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
PROMPT = types.ModelInput.from_ints([5, 6])


@pytest.fixture(scope="module")
def house(torch_house: Loopback) -> Loopback:
    return torch_house


@pytest.fixture(scope="module")
def service(house: Loopback) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=house.url, api_key=house.key) as client:
        yield client


@pytest.fixture
def client(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=1).result())


def learn(client: tinker.TrainingClient, token: int = 10) -> Any:
    datum = types.Datum(
        model_input=types.ModelInput.from_ints([5, 6, token]),
        loss_fn_inputs={"target_tokens": [6, token, token], "weights": [1.0] * 3},
    )
    return within(client.forward_backward([datum], "cross_entropy").result)


def until(happened: Callable[[], Any], complaint: str) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)


@pytest.mark.parametrize("sent", ["", "Content-Length: 9999\r\n\r\n{", "Content-Length: 2\r\n\r\n{}"])
def test_requests_that_break_off(house: Loopback, client: tinker.TrainingClient, sent: str) -> None:
    port = int(house.url.rpartition(":")[2])
    for path in ("forward_backward", "asample", "retrieve_future"):
        head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {house.key}\r\n"
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                line.sendall((head + sent).encode())
    assert learn(client).metrics["loss:sum"] > 0


def test_samples_nobody_waits_for(house: Loopback, service: tinker.ServiceClient) -> None:
    base = within(lambda: service.create_sampling_client(base_model=MODEL).result())
    held = house.house.sampling._promises
    waiting = [base.sample(PROMPT, 4, types.SamplingParams(max_tokens=500, stop=[])) for _ in range(8)]
    until(lambda: sum(not one.task.done() for one in held.values()) == 8, "the samples never began")
    for one in waiting:
        one.future().cancel()
    until(lambda: all(one.task.done() for one in held.values()), "samples nobody waits for go on")
    assert within(base.sample(PROMPT, 1, types.SamplingParams(max_tokens=2)).result).sequences


def test_adapters_that_made_room_come_back(
    service: tinker.ServiceClient, client: tinker.TrainingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More sampling clients than adapters are kept ready: each goes on speaking as its own."""
    monkeypatch.setattr(voices, "_ATTACHED", 1)
    params = types.SamplingParams(max_tokens=6, temperature=0, stop=[])
    speakers: list[tinker.SamplingClient] = []
    for token in (10, 20, 30):
        for _ in range(4):
            learn(client, token)
            within(client.optim_step(types.AdamParams(learning_rate=0.3)).result)
        speakers.append(within(lambda: client.save_weights_and_get_sampling_client().result()))
    first = [within(one.sample(PROMPT, 1, params).result).sequences[0].tokens for one in speakers]
    waiting = [one.sample(PROMPT, 1, params) for one in speakers * 3]
    assert [within(one.result).sequences[0].tokens for one in waiting] == first * 3
    assert len({tuple(said) for said in first}) > 1
