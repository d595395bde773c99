"""A tenant in trouble next to one at work: the one at work gets the numbers of working alone, to the bit."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import tinker
from deadlines import within
from loopback import Loopback
from tinker import types

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
RATE = types.AdamParams(learning_rate=1e-2)


def datum(tokens: list[int], **inputs: Any) -> types.Datum:
    given = {"target_tokens": tokens[1:], **(inputs or {"weights": [1.0] * (len(tokens) - 1)})}
    return types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=given)


GOOD = [datum([5, 6, 7, 8, 9]), datum([5, 6, 10, 11])]
HOPELESS = datum([1, 2], logprobs=[-2000.0], advantages=[1.0])
"""Goes well itself; the next step meets a gradient that is not finite."""

TROUBLE: dict[str, Callable[[tinker.ServiceClient, tinker.TrainingClient], Any]] = {
    "rank 0": lambda service, _: service.create_lora_training_client(MODEL, rank=0),
    "NaN": lambda _, client: client.forward_backward([datum([1, 2], weights=[math.nan])], "cross_entropy"),
    "a bad token": lambda _, client: client.forward_backward([datum([999, 2, 3])], "cross_entropy"),
    "no finite pass": lambda _, client: client.forward_backward([HOPELESS], "importance_sampling"),
    "no finite gradient": lambda _, client: client.optim_step(RATE),
}


def work(
    loopback: Loopback, between: Callable[[], list[Any]], steps: int = 3
) -> tuple[list[Any], list[BaseException | None]]:
    """Log-probabilities and metrics of a fresh run, and what became of what was sent beside each of its steps."""
    told: list[Any] = []
    beside: list[Any] = []
    with tinker.ServiceClient(base_url=loopback.url, api_key=loopback.add_key("worker")) as service:
        client = within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=1).result())
        for _ in range(steps):
            beside += between()
            passed, stepped = client.forward_backward(GOOD, "cross_entropy"), client.optim_step(RATE)
            beside += between()
            found = within(passed.result)
            told += [[list(one["logprobs"].data) for one in found.loss_fn_outputs], found.metrics["loss:sum"]]
            told.append(within(stepped.result).metrics)
    return told, [within(lambda one=one: one.future().exception(10)) for one in beside]


@pytest.mark.parametrize("house", ["fake_house", "torch_house"])
def test_trouble_next_door(house: str, request: pytest.FixtureRequest) -> None:
    loopback: Loopback = request.getfixturevalue(house)
    alone, _ = work(loopback, list)
    with tinker.ServiceClient(base_url=loopback.url, api_key=loopback.add_key("troubled")) as service:
        client = within(lambda: service.create_lora_training_client(MODEL, rank=4, seed=2).result())
        together, failures = work(loopback, lambda: [make(service, client) for make in TROUBLE.values()])
        assert together == alone
        rounds = [failures[start : start + len(TROUBLE)] for start in range(0, len(failures), len(TROUBLE))]
        assert len(rounds) == 6
        for names in (dict(zip(TROUBLE, one, strict=True)) for one in rounds):
            assert isinstance(names["rank 0"], tinker.BadRequestError), names
            assert isinstance(names["NaN"], tinker.BadRequestError), names
            assert isinstance(names["a bad token"], tinker.BadRequestError), names
            assert isinstance(names["no finite gradient"], tinker.RequestFailedError), names
        # The one in trouble can go on as well.
        assert within(client.forward_backward(GOOD, "cross_entropy").result).metrics["loss:sum"] > 0
        assert within(client.optim_step(RATE).result).metrics
