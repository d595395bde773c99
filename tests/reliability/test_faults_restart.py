"""The server goes away, by force or on request, while a pass and samples are under way: their clients only wait."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tinker
from deadlines import fails, within
from fake_model import write_model
from test_kill import KEY, Server
from tinker import types

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
LONG = types.Datum(
    model_input=types.ModelInput.from_ints([7] * 400),
    loss_fn_inputs={"target_tokens": [8] * 400, "weights": [1.0] * 400},
)
BIG = [LONG] * 60
"""Seconds of work."""
PROMPT, ASKED = types.ModelInput.from_ints([1, 2, 3]), types.SamplingParams(max_tokens=200, seed=3, stop=[])
RATE = types.AdamParams(learning_rate=1e-2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_model(tmp_path / "model")
    server = Server(tmp_path / "model", tmp_path / "data")
    server.wait()
    yield server
    server.close()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restart_is_invisible(server: Server, how: str) -> None:
    with tinker.ServiceClient(base_url=server.url, api_key=KEY) as service:
        client = within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=1).result())
        sampler = within(service.create_sampling_client(base_model=MODEL).result)
        expected = within(sampler.sample(PROMPT, 2, ASKED).result).sequences
        losses = within(client.forward(BIG, "cross_entropy").result, 30).metrics
        waiting = [client.forward_backward(BIG, "cross_entropy"), client.forward_backward(BIG, "cross_entropy")]
        stepped = client.optim_step(RATE)
        said = sampler.sample(PROMPT, 40, ASKED)
        time.sleep(0.7)
        assert not waiting[-1].future().done(), "there was nothing left to interrupt"
        if how == "kill":
            server.kill()
        else:
            server.close()
        server.start()
        server.wait()
        assert [within(one.result, 60).metrics for one in waiting] == [losses, losses]
        assert within(stepped.result, 60).metrics
        sequences = within(said.result, 60).sequences
        assert [one.tokens for one in sequences[:2]] == [one.tokens for one in expected]
        assert len(sequences) == 40
        # What was refused before is refused still, and what follows is done.
        fails(lambda: client.forward_backward([LONG], "no_such_loss").result(), tinker.BadRequestError, "no_such_loss")
        assert within(client.forward([LONG], "cross_entropy").result).metrics


def test_a_refusal_and_a_gap_outlive_the_server(server: Server) -> None:
    """A number that was refused, or never came, holds up nothing after a restart either."""
    with tinker.ServiceClient(base_url=server.url, api_key=KEY) as service:
        client = within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=1).result())
        waiting = client.forward_backward(BIG, "cross_entropy")
        fails(lambda: client.forward_backward([LONG], "no_such_loss").result(), tinker.BadRequestError, "no_such_loss")
        client._get_request_id()  # as when a call fails before it sends anything
        client._turn_counter += 1
        behind = client.optim_step(RATE)
        time.sleep(0.3)
        server.kill()
        server.start()
        server.wait()
        assert within(waiting.result, 60).metrics
        assert within(behind.result, 60).metrics["step"] == 1
