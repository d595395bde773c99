"""The core install suffices: a server that cannot import anything else trains, saves, loads and samples."""

import gc
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import tinker
from tinker import types
from tiny_llama import write_talking_llama

pytestmark = pytest.mark.tinker_sdk
KEY = "tml-core-alone"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    write_talking_llama(tmp_path / "tiny")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = ["--port", port, "--data-dir", str(tmp_path / "data"), "--model", str(tmp_path / "tiny")]
    command = [sys.executable, str(Path(__file__).with_name("core_alone.py")), "serve", *place]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"ANUBHAV_API_KEY": KEY})
    try:
        until = time.monotonic() + 60
        while not _answers(f"http://127.0.0.1:{port}/healthz"):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    assert "Traceback" not in log.read_text(), log.read_text()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def test_a_run_is_trained_saved_resumed_and_sampled(url: str) -> None:
    datum = types.Datum(
        model_input=types.ModelInput.from_ints([5, 6, 7, 8]),
        loss_fn_inputs={"target_tokens": [6, 7, 8, 9], "weights": [1.0] * 4},
    )
    with tinker.ServiceClient(base_url=url, api_key=KEY) as service:
        client = service.create_lora_training_client("tiny", rank=4).result()
        first = client.forward_backward([datum], "cross_entropy").result().metrics["loss:sum"]
        client.optim_step(types.AdamParams(learning_rate=1e-2)).result()
        path = client.save_state("half").result().path
        again = service.create_training_client_from_state_with_optimizer(path).result()
        assert again.forward_backward([datum], "cross_entropy").result().metrics["loss:sum"] < first
        sampler = again.save_weights_and_get_sampling_client().result()
        reply = sampler.sample(types.ModelInput.from_ints([5, 6]), 1, types.SamplingParams(max_tokens=4)).result()
        assert len(reply.sequences[0].tokens) >= 1
