"""MinT's reverse KL between the stock SDK's own operations: posted is what `mint/mint/_mintx.py` 0.2.0 of its toolkit
posts, without a sequence number. The toolkit itself pins another version of the SDK and cannot stand beside this one.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import tinker
from pydantic import BaseModel
from tinker import types

pytestmark = pytest.mark.tinker_sdk
ADAM, TEACH = types.AdamParams(learning_rate=0.005), types.AdamParams(learning_rate=0.05)
BATCH = [
    types.Datum(
        model_input=types.ModelInput.from_ints([1, 2, 3, 4, 5]),
        loss_fn_inputs={"target_tokens": [2, 3, 4, 5, 6], "weights": [1.0] * 5},
    )
]


class Item(BaseModel):
    loss: dict[str, Any]


class Told(BaseModel):
    outputs: list[Item]
    metrics: dict[str, float]
    type: str


def tensor(values: list[float] | list[int], dtype: str) -> dict[str, Any]:
    return {"data": values, "shape": [len(values)], "dtype": dtype}


def datum(prompt: list[int], reference: list[int], targets: list[int]) -> dict[str, Any]:
    return {
        "student_input": {"chunks": [{"tokens": prompt, "type": "encoded_text"}]},
        "reference_input": {"chunks": [{"tokens": reference, "type": "encoded_text"}]},
        "target_tokens": tensor(targets, "int64"),
        "weights": tensor([1.0] * len(targets), "float32"),
    }


DATA = [datum([1, 2], [1, 2], [3, 4, 5, 6]), datum([7, 8, 9], [7, 8, 9], [10, 11])]


def body_for(trainer: tinker.TrainingClient, reference: str, **changes: Any) -> dict[str, Any]:
    return {
        "model_id": str(trainer.model_id),
        "reference_model_path": reference,
        "data": DATA,
        "temperature": 1.0,
        "seq_id": None,
        "type": "mint_forward_backward_reverse_kl",
    } | changes


def reverse_kl(server: Any, trainer: tinker.TrainingClient, reference: str, **changes: Any) -> Told:
    headers = {"X-API-Key": server.key, "X-Idempotency-Key": f"stainless-python-retry-{uuid.uuid4()}"}
    with httpx2.Client(base_url=f"{server.url}/api/v1", headers=headers) as wire:
        sent = wire.post("/mint/forward_backward_reverse_kl", json=body_for(trainer, reference, **changes))
        assert sent.status_code == 200, sent.text
        return Told.model_validate(wire.post("/retrieve_future", json=sent.json()).json())


@pytest.fixture(params=["fake", "torch"])
def server(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return request.getfixturevalue("tinker_server")
    return request.getfixturevalue("llama_server")[0]


@pytest.fixture
def service(server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=server.url, api_key=server.key) as client:
        yield client


def new_run(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return service.create_lora_training_client("tiny", rank=4, seed=1).result()


def taught(service: tinker.ServiceClient) -> str:
    teacher = new_run(service)
    for _ in range(4):
        teacher.forward_backward(BATCH, "cross_entropy").result()
        teacher.optim_step(TEACH).result()
    return teacher.save_weights_for_sampler("teacher").result().path


def test_a_student_learns_from_a_checkpoint_between_the_sdks_own_steps(
    server: Any, service: tinker.ServiceClient
) -> None:
    path, student = taught(service), new_run(service)
    losses: list[float] = []
    for _ in range(8):
        told = reverse_kl(server, student, path)
        losses.append(told.metrics["loss:sum"])
        student.optim_step(ADAM).result()
    assert told.type == "mint_forward_backward_reverse_kl"
    assert [item.loss["shape"] for item in told.outputs] == [[1], [1]]
    assert told.metrics["loss:sum"] == pytest.approx(sum(item.loss["data"][0] for item in told.outputs))
    assert told.metrics["reverse_kl:mean"] == pytest.approx(told.metrics["loss:sum"] / 6)
    assert (told.metrics["num_samples:sum"], told.metrics["num_tokens:sum"]) == (2, 6)
    assert losses[0] > 0
    assert losses[-1] < 0.8 * losses[0]
    assert reverse_kl(server, new_run(service), "tiny").metrics["loss:sum"] == pytest.approx(0, abs=1e-5)
    # What came before counts towards the same step, and the SDK's later numbers still find their place.
    student.forward_backward(BATCH, "cross_entropy").result()
    reverse_kl(server, student, path, temperature=2.0)
    student.optim_step(ADAM).result()
    assert student.save_state("end").result().path.endswith("/weights/end")


def next_number(trainer: tinker.TrainingClient, wanted: bool) -> dict[str, int]:
    """The SDK's next one, which is then taken."""
    if not wanted:
        return {}
    number = trainer._get_request_id()

    async def take() -> None:
        async with trainer._take_turn(number):
            pass

    trainer.holder.run_coroutine_threadsafe(take()).result()
    return {"seq_id": number + 1}


def test_the_order_is_that_of_the_sends(server: Any, service: tinker.ServiceClient) -> None:
    """The same with numbers, by hand, gives the same results."""
    path, loose, strict = taught(service), new_run(service), new_run(service)
    results: list[list[float]] = []
    for student, number in ((loose, False), (strict, True)):
        found: list[float] = []
        for _ in range(3):
            found.append(reverse_kl(server, student, path, **next_number(student, number)).metrics["loss:sum"])
            student.optim_step(ADAM).result()
        results.append(found)
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    assert results[0][0] != results[0][-1]


def test_a_request_sent_again_under_its_key_is_one_gradient(server: Any, service: tinker.ServiceClient) -> None:
    path, student = taught(service), new_run(service)
    headers = {"X-API-Key": server.key, "X-Idempotency-Key": "stainless-python-retry-1"}
    with httpx2.Client(base_url=f"{server.url}/api/v1", headers=headers) as wire:
        address, body = "/mint/forward_backward_reverse_kl", body_for(student, path)
        sent = [wire.post(address, json=body).json()["request_id"] for _ in range(3)]
        assert len(set(sent)) == 1
        once = wire.post("/retrieve_future", json={"request_id": sent[0]}).json()["metrics"]
        changed = wire.post(address, json=body | {"temperature": 3.0})
        assert changed.status_code in (400, 422)
    one = student.optim_step(ADAM).result()
    other = new_run(service)
    assert reverse_kl(server, other, path).metrics == pytest.approx(once)
    assert other.optim_step(ADAM).result().metrics["grad_norm"] == pytest.approx(one.metrics["grad_norm"])


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"reference_model_path": "nobody"}, 404),
        ({"reference_model_path": "tinker://x:train:0/sampler_weights/y"}, 404),
        ({"temperature": 0.0}, 400),
        ({"data": []}, 400),
        ({"data": [DATA[0] | {"weights": {"data": [1.0]}}]}, 400),
        ({"data": [DATA[0] | {"target_tokens": {"data": [0.5] * 4}}]}, 400),
        ({"data": [{"student_input": {"chunks": []}}]}, 400),
    ],
)
def test_what_cannot_succeed_is_refused_for_good(
    server: Any, service: tinker.ServiceClient, changes: dict[str, Any], status: int
) -> None:
    student = new_run(service)
    with httpx2.Client(base_url=f"{server.url}/api/v1", headers={"X-API-Key": server.key}) as wire:
        refused = wire.post("/mint/forward_backward_reverse_kl", json=body_for(student, "tiny", **changes))
    assert refused.status_code == status, refused.text
    assert student.optim_step(ADAM).result()


def test_a_scalar_and_the_toolkits_own_dtype_are_read(server: Any, service: tinker.ServiceClient) -> None:
    """Its TensorData says float32 of everything unless told otherwise, and may hold one number."""
    plain = {"target_tokens": {"data": [3, 4], "dtype": "float32"}, "weights": {"data": [1, 0.5], "shape": None}}
    one = {"target_tokens": {"data": 3, "dtype": "float32"}, "weights": {"data": 1.0}}
    told = reverse_kl(server, new_run(service), "tiny", data=[DATA[0] | plain, DATA[0] | one])
    assert told.metrics["num_tokens:sum"] == 3
