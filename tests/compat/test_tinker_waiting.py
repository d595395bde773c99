"""The unmodified Tinker SDK when sampling does not go its usual way: several clients, long waits, faults, restarts."""

import asyncio
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tinker
import uvicorn
from fake_model import write_model
from lessons_for_tinker import KEY, MODEL, ONE, PROMPT, flags, teach, wait_until
from tinker import types

from anubhav.app import build
from anubhav.http.app import create_app
from anubhav.http.door import LOOPBACK
from anubhav.http.tinker import futures as polls
from anubhav.settings import Settings
from anubhav.types.models import Model

pytestmark = pytest.mark.tinker_sdk


@pytest.fixture
def service(tinker_server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as client:
        yield client


@pytest.fixture
def base(service: tinker.ServiceClient) -> tinker.SamplingClient:
    return service.create_sampling_client(base_model=MODEL).result()


@pytest.fixture
def trainer(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return service.create_lora_training_client(MODEL, rank=4, seed=1).result()


def held_by(server: Any, sampler: tinker.SamplingClient) -> list[str]:
    return [name for (name, _) in server.house.sampling._asked if name == sampler._sampling_session_id]


def test_copies_of_a_client_get_numbers_of_their_own(tinker_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", tinker_server.key)
    with (
        flags(sample_join_sampling_session=True),
        tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as service,
    ):
        base = service.create_sampling_client(base_model=MODEL).result()
        copies = [
            pickle.loads(pickle.dumps(base)),
            tinker.SamplingClient.from_sampler_handle(base.get_sampler_handle()),
        ]
        seeded = types.SamplingParams(max_tokens=4, seed=1)
        said = [one.sample(PROMPT, 1, seeded).result().sequences[0] for one in (base, *copies)]
        assert len({tuple(one.tokens) for one in said}) == 1
        assert len({one.sequence_id for one in said}) == 3
        assert sorted(one._cloned_sampler_id for one in copies) == [1, 2]


def test_one_poll_serves_a_whole_sampling_session(tinker_server: Any) -> None:
    with (
        flags(sample_use_retrieve_futures=True, sample_join_sampling_session=True),
        tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as service,
    ):
        base = service.create_sampling_client(base_model=MODEL).result()
        again = service.create_sampling_client(base_model=MODEL).result()
        params = types.SamplingParams(max_tokens=6)
        for sampler in (base, again, base):
            waiting = [sampler.sample(PROMPT, 2, params) for _ in range(100)]
            answers = [one.result(timeout=60) for one in waiting]
            assert all(len(one.sequences) == 2 for one in answers)
        assert base.compute_logprobs(PROMPT).result(timeout=60)[0] is None
        assert base._futures_poller is not None
        wait_until(lambda: not held_by(tinker_server, base), "what was fetched is still held")
        copy = pickle.loads(pickle.dumps(base))
        assert len(copy.sample(PROMPT, 3, params).result(timeout=60).sequences) == 3


def test_a_deleted_checkpoint_cannot_be_sampled_from(
    tinker_server: Any, service: tinker.ServiceClient, trainer: tinker.TrainingClient
) -> None:
    path = trainer.save_weights_for_sampler("short-lived").result().path
    sampler = service.create_sampling_client(model_path=path).result()
    assert sampler.sample(PROMPT, 1, ONE).result().sequences
    rest = tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.key)
    rest.delete_checkpoint_from_tinker_path(path).result()
    start = time.monotonic()
    with pytest.raises(tinker.NotFoundError, match="no checkpoint"):
        sampler.sample(PROMPT, 1, ONE).result()
    with pytest.raises(tinker.NotFoundError, match="no checkpoint"):
        service.create_sampling_client(model_path=path).result()
    assert time.monotonic() - start < 2


def test_an_abandoned_sample_frees_its_slot(tinker_server: Any, base: tinker.SamplingClient) -> None:
    busy: Callable[[], int] = lambda: tinker_server.house.voices._samplers[MODEL].running  # noqa: E731
    wait_until(lambda: busy() == 0, "earlier samples never ended")
    # The context ends these after 504 tokens each, which takes the fake far longer than the test.
    waiting = base.sample(PROMPT, 256, types.SamplingParams(max_tokens=500, stop=[]))
    wait_until(lambda: busy() > 0, "the sample never began")
    time.sleep(0.5)  # until it is waited for: what nobody ever asked after is dropped after 90 s only
    waiting.future().cancel()
    wait_until(lambda: busy() == 0, "the slots were not freed")


def test_waiting_says_why(
    tinker_server: Any,
    trainer: tinker.TrainingClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(polls, "_HOLD", 0.2)
    sampler = trainer.save_weights_and_get_sampling_client().result()
    turn = tinker_server.house.voices._attaching
    asyncio.run_coroutine_threadsafe(turn.acquire(), tinker_server.loop).result()
    try:
        waiting = sampler.sample(PROMPT, 1, ONE)
        wait_until(lambda: "Sampling is paused" in caplog.text, "the SDK was not told of the wait")
        assert "the server is busy: 0 of your samples came before this one" in caplog.text
    finally:
        tinker_server.loop.call_soon_threadsafe(turn.release)
    assert len(waiting.result(timeout=30).sequences) == 1


def test_a_sample_under_way_is_waited_for_quietly(
    base: tinker.SamplingClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(polls, "_HOLD", 0.2)
    answer = base.sample(PROMPT, 32, types.SamplingParams(max_tokens=200, stop=[])).result(timeout=120)
    assert [len(one.tokens) for one in answer.sequences] == [200] * 32
    assert "paused" not in caplog.text
    assert "try_again" not in caplog.text


class Host:
    """A server that can be stopped and started again on the same port and data."""

    def __init__(self, folder: Path) -> None:
        write_model(folder / "tiny")
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._up.wait(60)

    async def _serve(self) -> None:
        model = Model(MODEL, self._folder / "tiny", "Apache-2.0", "folder", 512, 258)
        settings = Settings(data_dir=self._folder / "data", models_dir=self._folder / "models", api_key=KEY)
        async with build(settings, {MODEL: model}) as (house, keyring):
            await keyring.preset(KEY)
            config = uvicorn.Config(
                create_app(house, keyring, hosts=LOOPBACK),
                lifespan="off",
                log_level="error",
                timeout_graceful_shutdown=1,
                port=self.port,
            )
            self.house, self._server = house, uvicorn.Server(config)
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event of its own
                await asyncio.sleep(0.01)
            self._up.set()
            await serving

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    host.start()
    yield host
    host.stop()


def test_a_sample_survives_a_restart_of_the_server(host: Host) -> None:
    with tinker.ServiceClient(base_url=host.url, api_key=KEY) as service:
        trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
        teach(trainer, 8)
        sampler = trainer.save_weights_and_get_sampling_client().result()
        asked = types.SamplingParams(max_tokens=300, seed=3, stop=[])
        expected = sampler.sample(PROMPT, 2, asked).result()
        waiting = sampler.sample(PROMPT, 64, asked)
        wait_until(lambda: host.house.voices._samplers[MODEL].running > 0, "the sample never began")
        host.stop()
        host.start()
        answer = waiting.result(timeout=60)
        assert [one.tokens for one in answer.sequences[:2]] == [one.tokens for one in expected.sequences]
        assert len({one.sequence_id for one in answer.sequences}) == 64


@pytest.mark.parametrize("heard_before", [True, False])
def test_a_poll_of_before_a_restart_fails_instead_of_hanging(host: Host, heard_before: bool) -> None:
    with flags(sample_use_retrieve_futures=True), tinker.ServiceClient(base_url=host.url, api_key=KEY) as service:
        sampler = service.create_sampling_client(base_model=MODEL).result()
        if heard_before:
            sampler.sample(PROMPT, 1, ONE).result(timeout=30)
        waiting = sampler.sample(PROMPT, 64, types.SamplingParams(max_tokens=400, stop=[]))
        wait_until(lambda: host.house.voices._samplers[MODEL].running > 0, "the sample never began")
        host.stop()
        host.start()
        with pytest.raises(tinker.TinkerError, match="restarted"):
            waiting.result(timeout=60)
