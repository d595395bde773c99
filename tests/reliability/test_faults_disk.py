"""A full disk: nothing new is let in, nothing accepted is lost, what needs no disk goes on, and space ends it all."""

import asyncio
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import tinker
from deadlines import within
from loopback import Loopback
from tinker import types

from anubhav.http.tinker import futures as polls

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
LONG = types.Datum(
    model_input=types.ModelInput.from_ints([7] * 500),
    loss_fn_inputs={"target_tokens": [8] * 500, "weights": [1.0] * 500},
)
BIG = [LONG] * 8
"""Its journal entry and its result do not fit into pages that are there already."""
SHORT = types.Datum(
    model_input=types.ModelInput.from_ints([7, 8]), loss_fn_inputs={"target_tokens": [8, 9], "weights": [1.0, 1.0]}
)


def learn(client: tinker.TrainingClient, data: list[types.Datum]) -> Any:
    return client.forward_backward(data, "cross_entropy")


@contextmanager
def full_database(loopback: Loopback) -> Iterator[None]:
    """SQLite may not grow its file: it says what it says on a full disk."""

    def allow(pages: int) -> None:
        work = loopback.house.desk._database.run(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchall())
        asyncio.run_coroutine_threadsafe(work, loopback.loop).result(5)

    allow(1)  # never less than there are
    try:
        yield
    finally:
        allow(1 << 30)


@contextmanager
def full_disk(patch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    usage = shutil.disk_usage("/")
    with patch.context() as inner:
        inner.setattr(os, "fsync", refuse)
        inner.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=0))
        yield


@pytest.fixture
def client(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=1).result())


def until(happened: Callable[[], Any], complaint: str) -> Any:
    deadline = time.monotonic() + 10
    while not (found := happened()):
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)
    return found


def reason_of(loopback: Loopback, promise: str) -> str | None:
    """Why the server says that a result is not there yet."""
    answer = httpx2.post(
        f"{loopback.url}/api/v1/retrieve_future", json={"request_id": promise}, headers={"x-api-key": loopback.key}
    )
    assert answer.status_code == 408, answer.text
    return answer.json().get("queue_state_reason")


def test_what_cannot_be_journalled_is_not_let_in(
    fake_house: Loopback, service: tinker.ServiceClient, client: tinker.TrainingClient
) -> None:
    """The SDK repeats it for five minutes; with space in that time its user sees nothing."""
    base = within(lambda: service.create_sampling_client(base_model=MODEL).result())
    expected = within(learn(client, BIG).result).metrics
    with full_database(fake_house):
        refused = until(lambda: _refused(fake_house), "the database never was full")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "Unavailable")
        assert "cannot write to its disk" in refused.json()["detail"]
        waiting = learn(client, BIG)
        params = types.SamplingParams(max_tokens=2, stop=[])
        assert within(base.sample(types.ModelInput.from_ints([1, 2]), 1, params).result).sequences
        time.sleep(0.5)
        assert not waiting.future().done()
    assert within(waiting.result, 20).metrics == expected


def _refused(loopback: Loopback) -> httpx2.Response | None:
    """The answer to one more session with much to remember, once it is refused: that leaves no room for anything."""
    body = {"tags": [], "user_metadata": {"notes": "x" * 9000}, "sdk_version": "0.38.0", "type": "create_session"}
    answer = httpx2.post(f"{loopback.url}/api/v1/create_session", json=body, headers={"x-api-key": loopback.key})
    return None if answer.status_code == 200 else answer


def test_a_result_that_cannot_be_stored_waits_and_says_why(
    fake_house: Loopback, client: tinker.TrainingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "_HOLD", 0.1)
    trainer, go_on = fake_house.house.desk._trainers[MODEL], threading.Event()
    run = trainer.run

    async def slow(*asked: Any, **more: Any) -> Any:
        await asyncio.to_thread(go_on.wait, 15)
        return await run(*asked, **more)

    monkeypatch.setattr(trainer, "run", slow, raising=False)
    waiting = learn(client, BIG)
    promise = until(lambda: _promises(fake_house, client.model_id), "the pass was not accepted")[-1]
    with full_database(fake_house):
        until(lambda: _refused(fake_house), "the database never was full")
        go_on.set()
        assert "disk" in until(lambda: reason_of(fake_house, promise), "nobody said why")
    assert within(waiting.result).metrics["loss:sum"] > 0


def _promises(loopback: Loopback, run: str) -> list[str]:
    query = "SELECT promise FROM ops WHERE run = ? AND state = 'pending' AND seq > 0 ORDER BY seq"
    work = loopback.house.desk._database.run(lambda c: [row[0] for row in c.execute(query, (run,))])
    return asyncio.run_coroutine_threadsafe(work, loopback.loop).result(5)


@pytest.mark.parametrize("kind", ["state", "sampler"])
def test_a_save_waits_for_space_and_says_why(
    fake_house: Loopback, client: tinker.TrainingClient, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(polls, "_HOLD", 0.1)
    save = client.save_state if kind == "state" else client.save_weights_for_sampler
    with (
        full_disk(monkeypatch),
        tinker.ServiceClient(base_url=fake_house.url, api_key=fake_house.add_key("neighbour")) as other,
    ):
        waiting = save("late")
        promise = until(lambda: _promises(fake_house, client.model_id), "the save was not accepted")[-1]
        assert "disk is full" in until(lambda: reason_of(fake_house, promise), "nobody said why")
        neighbour = within(lambda: other.create_lora_training_client(MODEL, rank=4).result())
        assert within(learn(neighbour, [SHORT]).result).loss_fn_outputs
        assert within(neighbour.optim_step(types.AdamParams(learning_rate=1e-3)).result).metrics
    assert within(waiting.result).path.endswith("/late")
    assert within(learn(client, [SHORT]).result).loss_fn_outputs
