"""What a client holds on to after it went away, and numbers used wrongly: told at once, by the expected class."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tinker
from deadlines import fails, within
from loopback import Loopback
from tinker import types

from anubhav.training import turnstile

pytestmark = [
    pytest.mark.tinker_sdk,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

MODEL = "tiny"
GONE = tinker.APIStatusError
"""410 has no class of its own in the SDK."""
DATUM = types.Datum(
    model_input=types.ModelInput.from_ints([1, 2, 3]),
    loss_fn_inputs={"target_tokens": [2, 3, 4], "weights": [1.0, 1.0, 1.0]},
)
PROMPT, PARAMS = types.ModelInput.from_ints([1, 2, 3]), types.SamplingParams(max_tokens=2, stop=[])
RATE = types.AdamParams(learning_rate=1e-2)


@pytest.fixture
def client(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=1).result())


@pytest.fixture
def stranger(fake_house: Loopback) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=fake_house.url, api_key=fake_house.add_key("stranger")) as client:
        yield client


def learn(client: tinker.TrainingClient) -> float:
    return within(client.forward_backward([DATUM], "cross_entropy").result).metrics["loss:sum"]


def row_of(loopback: Loopback, query: str, *values: Any) -> Any:
    work = loopback.house.desk._database.run(lambda c: c.execute(query, values).fetchone())
    return asyncio.run_coroutine_threadsafe(work, loopback.loop).result(5)


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_a_checkpoint_that_went_away(
    fake_house: Loopback, service: tinker.ServiceClient, client: tinker.TrainingClient, how: str
) -> None:
    path = within(client.save_weights_for_sampler("short").result).path
    state = within(client.save_state("short").result).path
    sampler = within(service.create_sampling_client(model_path=path).result)
    assert within(sampler.sample(PROMPT, 1, PARAMS).result).sequences
    if how == "deleted":
        rest = tinker.RestClient(base_url=fake_house.url, api_key=fake_house.key)
        for one in (path, state):
            within(rest.delete_checkpoint_from_tinker_path(one).result)
    else:
        for one in (path, state):
            row_of(fake_house, "UPDATE checkpoints SET expires_at = ? WHERE path = ?", time.time() - 1, one)
    for use in (
        lambda: sampler.sample(PROMPT, 1, PARAMS).result(),
        lambda: service.create_sampling_client(model_path=path).result(),
        lambda: service.create_training_client_from_state(state).result(),
        lambda: client.load_state(state).result(),
    ):
        fails(use, tinker.NotFoundError, "no checkpoint", "short")
    assert learn(client) > 0


def test_another_tenants_things_are_not_there(
    fake_house: Loopback, client: tinker.TrainingClient, stranger: tinker.ServiceClient
) -> None:
    path, weights = within(client.save_state("own").result).path, client.save_weights_for_sampler("own")
    own = within(lambda: stranger.create_lora_training_client(MODEL, rank=4).result())
    for use in (
        lambda: own.load_state(path).result(),
        lambda: stranger.create_training_client_from_state_with_optimizer(path).result(),
        lambda: stranger.create_sampling_client(model_path=weights.result().path).result(),
    ):
        fails(use, tinker.NotFoundError, "no checkpoint")
    assert learn(own) == learn(client)


def test_a_checkpoint_of_another_shape(service: tinker.ServiceClient, client: tinker.TrainingClient) -> None:
    path = within(client.save_state("narrow").result).path
    light = within(client.save_weights_for_sampler("light").result).path
    wide = within(lambda: service.create_lora_training_client(MODEL, rank=8).result())
    fails(lambda: wide.load_state(path).result(), tinker.BadRequestError, "does not fit", "open a run from it")
    fails(lambda: client.load_state_with_optimizer(light).result(), tinker.BadRequestError, "without its optimizer")
    assert learn(wide) == learn(client)


def test_a_corrupt_checkpoint_is_refused_by_name(
    fake_house: Loopback, service: tinker.ServiceClient, client: tinker.TrainingClient
) -> None:
    paths = [
        within(client.save_state("rotten").result).path,
        within(client.save_weights_for_sampler("rotten").result).path,
    ]
    for path in paths:
        [folder] = row_of(fake_house, "SELECT folder FROM checkpoints WHERE path = ?", path)
        # As after a restart: files are compared with their hashes once in the life of a process.
        fake_house.house.desk.checkpoints._verified.discard(folder)
        file = fake_house.house.desk.checkpoints.path_of(folder) / "adapter_model.safetensors"
        spoil(file)
    words = ("adapter_model.safetensors", "earlier checkpoint")
    fails(lambda: client.load_state(paths[0]).result(), tinker.RequestFailedError, *words)
    fails(lambda: service.create_training_client_from_state(paths[0]).result(), tinker.RequestFailedError, *words)
    fails(lambda: service.create_sampling_client(model_path=paths[1]).result(), tinker.APIStatusError, *words)
    assert learn(client) > 0
    assert within(client.save_state("sound").result).path


def spoil(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_finished_session_takes_nothing(fake_house: Loopback) -> None:
    with tinker.ServiceClient(base_url=fake_house.url, api_key=fake_house.key) as service:
        client = within(lambda: service.create_lora_training_client(MODEL, rank=4).result())
        sampler = within(service.create_sampling_client(base_model=MODEL).result)
        wire(fake_house, f"sessions/{client.model_id.partition(':')[0]}/finish", {"reason": {"type": "success"}})
        fails(lambda: learn(client), GONE, "ended", "checkpoint")
        fails(lambda: client.optim_step(RATE).result(), GONE, "ended")
        fails(lambda: service.create_lora_training_client(MODEL, rank=4).result(), GONE, "finished")
        fails(lambda: service.create_sampling_client(base_model=MODEL).result(), tinker.NotFoundError, "session")
        assert within(sampler.sample(PROMPT, 1, PARAMS).result).sequences


def test_an_unloaded_model_takes_nothing(fake_house: Loopback, client: tinker.TrainingClient) -> None:
    waiting = client.forward_backward([DATUM] * 20, "cross_entropy")
    wire(fake_house, "unload_model", {"model_id": client.model_id})
    try:  # done before, or told that it will not be
        within(waiting.result)
    except (tinker.RequestFailedError, tinker.APIStatusError) as told:
        assert "ended" in str(told)
    fails(lambda: learn(client), GONE, "ended")


def wire(loopback: Loopback, path: str, body: dict[str, Any]) -> httpx2.Response:
    headers = {"x-api-key": loopback.key}
    return httpx2.post(f"{loopback.url}/api/v1/{path}", json=body, headers=headers, timeout=10)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("create_model", {"session_id": "ses_no", "model_seq_id": 0, "base_model": MODEL, "lora_config": {"rank": 4}}),
        ("create_sampling_session", {"session_id": "ses_no", "sampling_session_seq_id": 0, "base_model": MODEL}),
        ("optim_step", {"model_id": "ses_no:train:0", "seq_id": 1, "adam_params": {}}),
        ("sessions/ses_no/finish", {}),
        ("asample", {"sampling_session_id": "ses_no:sample:0", "seq_id": 0, "prompt": {"chunks": [{"tokens": [1]}]},
                     "sampling_params": {}}),
    ],
)  # fmt: skip
def test_what_is_unknown_is_not_found(fake_house: Loopback, path: str, body: dict[str, Any]) -> None:
    answer = wire(fake_house, path, body)
    assert answer.status_code == 404, answer.text
    assert "ses_no" in answer.json()["detail"]


def step(loopback: Loopback, run: str, seq: int, rate: float | None = 0.1) -> httpx2.Response:
    return wire(loopback, "optim_step", {"model_id": run, "seq_id": seq, "adam_params": {"learning_rate": rate}})


def outcome(loopback: Loopback, answer: httpx2.Response) -> dict[str, Any]:
    return wire(loopback, "retrieve_future", {"request_id": answer.json()["request_id"]}).json()


def test_a_number_used_twice(fake_house: Loopback, client: tinker.TrainingClient) -> None:
    run = client.model_id
    first = step(fake_house, run, 1)
    assert step(fake_house, run, 1).json() == first.json()
    again = step(fake_house, run, 1, rate=0.2)
    assert again.status_code == 422
    assert "another content" in again.json()["detail"]
    assert "metrics" in outcome(fake_house, first)


def test_a_number_that_never_comes_is_passed_over(fake_house: Loopback, client: tinker.TrainingClient) -> None:
    """What is sent late under it is told so, and so is the rest of a refused number's story."""
    run = client.model_id
    waiting = step(fake_house, run, 3)
    assert "metrics" in within(lambda: outcome(fake_house, waiting))
    for late in (1, 2):
        answer = step(fake_house, run, late)
        assert answer.status_code == 422
        assert "passed over" in answer.json()["detail"]
    assert "metrics" in outcome(fake_house, step(fake_house, run, 4))


def test_a_pass_waits_longer_for_what_comes_before_it(
    fake_house: Loopback, client: tinker.TrainingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a chunk whose first one is on its way; but not for ever."""
    monkeypatch.setattr(turnstile, "_SOON", 0.1)
    datum = {
        "model_input": {"chunks": [{"tokens": [1, 2]}]},
        "loss_fn_inputs": {
            "target_tokens": {"data": [2, 3], "dtype": "int64"},
            "weights": {"data": [1, 1], "dtype": "float32"},
        },
    }
    work = {"data": [datum], "loss_fn": "cross_entropy"}
    compute: Callable[[int], httpx2.Response] = lambda seq: wire(  # noqa: E731
        fake_house, "forward_backward", {"model_id": client.model_id, "seq_id": seq, "forward_backward_input": work}
    )
    waiting = compute(2)
    time.sleep(0.5)
    assert row_of(fake_house, "SELECT state FROM ops WHERE promise = ?", waiting.json()["request_id"])[0] == "pending"
    assert "metrics" in outcome(fake_house, compute(1))
    assert "metrics" in outcome(fake_house, waiting)
    monkeypatch.setattr(turnstile, "_PATIENCE", 0.1)
    assert "metrics" in within(lambda: outcome(fake_house, compute(4)))


def test_a_refused_number_may_be_used_until_something_came_behind_it(
    fake_house: Loopback, client: tinker.TrainingClient
) -> None:
    run = client.model_id
    assert step(fake_house, run, 1, rate=None).status_code == 400
    assert "metrics" in outcome(fake_house, step(fake_house, run, 1))
    assert step(fake_house, run, 2, rate=-1.0).status_code == 400
    assert step(fake_house, run, 2, rate=-1.0).status_code == 400
    assert "metrics" in outcome(fake_house, step(fake_house, run, 3))
    assert step(fake_house, run, 2).status_code == 422
