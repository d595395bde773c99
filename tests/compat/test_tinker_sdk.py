"""The unmodified Tinker SDK 0.38.0 against a server on loopback, over the fake backend."""

import logging
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
import tinker
import torch
from tinker import types

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
DATA = [
    types.Datum(
        model_input=types.ModelInput.from_ints([1, 2, 3, 4, 5]),
        loss_fn_inputs={"target_tokens": [2, 3, 4, 5, 6], "weights": [0.0, 1.0, 1.0, 0.5, 1.0]},
    ),
    types.Datum(
        model_input=types.ModelInput.from_ints([7, 8, 9]),
        loss_fn_inputs={"target_tokens": [8, 9, 10], "weights": [1.0, 1.0, 1.0]},
    ),
]
ADAM = types.AdamParams(learning_rate=0.05)


def logprobs(output: types.ForwardBackwardOutput) -> list[list[float]]:
    return [fields["logprobs"].tolist() for fields in output.loss_fn_outputs]


def flat(values: list[list[float]]) -> list[float]:
    return [value for row in values for value in row]


@pytest.fixture
def service(tinker_server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as client:
        yield client


@pytest.fixture
def trainer(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return service.create_lora_training_client(MODEL, rank=4, seed=1).result()


def test_capabilities_and_a_base_url_with_a_path(tinker_server: Any) -> None:
    prefixed = {"base_url": f"{tinker_server.url}/services/tinker-prod", "api_key": tinker_server.key}
    models = tinker.RestClient(**prefixed).get_server_capabilities().result().supported_models
    assert [(model.model_name, model.trainable, model.sampleable) for model in models] == [(MODEL, True, True)]
    with tinker.ServiceClient(**prefixed) as service:
        assert service.create_lora_training_client(MODEL, rank=4).result().get_info().lora_rank == 4


def test_the_loss_falls(trainer: tinker.TrainingClient) -> None:
    losses: list[float] = []
    for _ in range(12):
        work, step = trainer.forward_backward(DATA, "cross_entropy"), trainer.optim_step(ADAM)
        losses.append(work.result().metrics["loss:sum"])
        step.result()
    assert losses[1] < losses[0]
    assert losses[-1] < 0.8 * losses[0]


def test_forward_leaves_the_gradient_alone(trainer: tinker.TrainingClient) -> None:
    before = logprobs(trainer.forward(DATA, "cross_entropy").result())
    assert [len(row) for row in before] == [5, 3]
    trainer.optim_step(ADAM).result()
    assert logprobs(trainer.forward(DATA, "cross_entropy").result()) == before


def test_a_custom_loss_gives_the_gradient_of_the_built_in_one(service: tinker.ServiceClient) -> None:
    def negative_likelihood(
        data: list[types.Datum], given: list[torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        weights = [torch.tensor(datum.loss_fn_inputs["weights"].tolist()) for datum in data]
        loss = -sum(((one * row).sum() for one, row in zip(weights, given, strict=True)), torch.zeros(()))
        return loss, {"mine": loss.item()}

    built_in = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    custom = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    for _ in range(3):
        built_in.forward_backward(DATA, "cross_entropy").result()
        metrics = custom.forward_backward_custom(DATA, negative_likelihood).result().metrics
        assert "mine" in metrics
        built_in.optim_step(ADAM).result()
        custom.optim_step(ADAM).result()
    ours = flat(logprobs(built_in.forward(DATA, "cross_entropy").result()))
    assert ours == pytest.approx(flat(logprobs(custom.forward(DATA, "cross_entropy").result())), abs=1e-5)


def test_chunks_add_up(service: tinker.ServiceClient) -> None:
    """More than 1024 datums leave the SDK as several requests, the later ones first."""
    many = [DATA[1]] * 1030
    whole = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    parts = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    output = whole.forward_backward(many, "cross_entropy").result()
    assert len(output.loss_fn_outputs) == 1030
    for start in range(0, 1030, 515):
        parts.forward_backward(many[start : start + 515], "cross_entropy").result()
    whole.optim_step(ADAM).result()
    parts.optim_step(ADAM).result()
    ours = flat(logprobs(whole.forward(DATA, "cross_entropy").result()))
    assert ours == pytest.approx(flat(logprobs(parts.forward(DATA, "cross_entropy").result())), abs=1e-5)


def test_a_restored_run_takes_the_identical_next_step(
    service: tinker.ServiceClient, trainer: tinker.TrainingClient
) -> None:
    def step(client: tinker.TrainingClient) -> list[float]:
        client.forward_backward(DATA, "cross_entropy").result()
        client.optim_step(ADAM).result()
        return flat(logprobs(client.forward(DATA, "cross_entropy").result()))

    step(trainer)
    path = trainer.save_state("halfway").result().path
    assert path == f"tinker://{trainer.model_id}/weights/halfway"
    restored = service.create_training_client_from_state_with_optimizer(path).result()
    fresh = service.create_training_client_from_state(path).result()
    assert restored.model_id != trainer.model_id
    expected = step(trainer)
    assert step(restored) == expected
    assert step(fresh) != expected


def test_sampling_what_was_trained(service: tinker.ServiceClient, trainer: tinker.TrainingClient) -> None:
    for _ in range(20):
        trainer.forward_backward(DATA, "cross_entropy").result()
        trainer.optim_step(types.AdamParams(learning_rate=0.3)).result()
    sampler = trainer.save_weights_and_get_sampling_client().result()
    prompt = types.ModelInput.from_ints([7])
    greedy = types.SamplingParams(max_tokens=3, temperature=0.0)
    answer = sampler.sample(prompt=prompt, sampling_params=greedy, num_samples=1).result()
    assert answer.sequences[0].tokens == [8, 9, 10]
    assert answer.sequences[0].stop_reason == "length"
    assert len(answer.sequences[0].logprobs or []) == 3

    several = sampler.sample(prompt, num_samples=4, sampling_params=types.SamplingParams(max_tokens=8, seed=3)).result()
    assert len({tuple(one.tokens) for one in several.sequences}) > 1
    assert len({one.sequence_id for one in several.sequences}) == 4
    again = sampler.sample(prompt, num_samples=4, sampling_params=types.SamplingParams(max_tokens=8, seed=3)).result()
    assert [one.tokens for one in again.sequences] == [one.tokens for one in several.sequences]

    scores = sampler.compute_logprobs(types.ModelInput.from_ints([7, 8, 9, 10])).result()
    assert scores[0] is None
    assert scores[1:] == pytest.approx(logprobs(trainer.forward(DATA, "cross_entropy").result())[1], abs=1e-4)

    named = trainer.save_weights_for_sampler("final").result().path
    by_path = service.create_sampling_client(model_path=named).result()
    assert by_path.sample(prompt, num_samples=1, sampling_params=greedy).result().sequences[0].tokens == [8, 9, 10]
    base = service.create_sampling_client(base_model=MODEL).result()
    params = types.SamplingParams(max_tokens=1, stop=[3])
    assert base.sample(prompt, num_samples=1, sampling_params=params).result().sequences[0].logprobs


def test_stop_tokens_and_top_logprobs(trainer: tinker.TrainingClient) -> None:
    for _ in range(20):
        trainer.forward_backward(DATA, "cross_entropy").result()
        trainer.optim_step(types.AdamParams(learning_rate=0.3)).result()
    sampler = trainer.save_weights_and_get_sampling_client().result()
    params = types.SamplingParams(max_tokens=9, temperature=0.0, stop=[10])
    prompt = types.ModelInput.from_ints([7, 8])
    answer = sampler.sample(
        prompt, num_samples=1, sampling_params=params, include_prompt_logprobs=True, topk_prompt_logprobs=2
    ).result()
    assert (answer.sequences[0].tokens, answer.sequences[0].stop_reason) == ([9, 10], "stop")
    assert answer.topk_prompt_logprobs is not None
    assert [len(row or []) for row in answer.topk_prompt_logprobs] == [0, 2]


def test_the_tokenizer_comes_without_a_network(trainer: tinker.TrainingClient) -> None:
    tokenizer = trainer.get_tokenizer()
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


def test_runs_and_checkpoints_can_be_listed_and_deleted(tinker_server: Any, trainer: tinker.TrainingClient) -> None:
    path = trainer.save_state("keep").result().path
    trainer.save_weights_for_sampler("out").result()
    rest = tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.key)
    run = rest.get_training_run(trainer.model_id).result()
    assert (run.base_model, run.lora_rank, run.is_lora) == (MODEL, 4, True)
    assert trainer.model_id in [
        one.training_run_id for one in rest.list_training_runs(limit=100).result().training_runs
    ]
    listed = rest.list_checkpoints(trainer.model_id).result().checkpoints
    assert {(one.checkpoint_id, one.checkpoint_type) for one in listed} == {
        ("weights/keep", "training"),
        ("sampler_weights/out", "sampler"),
    }
    assert path in [one.tinker_path for one in rest.list_user_checkpoints().result().checkpoints]
    assert rest.get_weights_info_by_tinker_path(path).result().lora_rank == 4
    rest.delete_checkpoint_from_tinker_path(path).result()
    assert [one.checkpoint_id for one in rest.list_checkpoints(trainer.model_id).result().checkpoints] == [
        "sampler_weights/out"
    ]
    with pytest.raises(tinker.NotFoundError):
        rest.get_weights_info_by_tinker_path(path).result()


def quick_error(call: Callable[[], Any]) -> Exception:
    """The error of a call that must fail at once: the SDK waits a second before it repeats one, and says so."""
    said: list[str] = []
    client, listening = logging.getLogger("tinker._base_client"), logging.Handler()
    listening.emit = lambda record: said.append(record.getMessage())
    before = client.level
    client.addHandler(listening)
    client.setLevel(logging.DEBUG)
    start = time.monotonic()
    try:
        with pytest.raises((tinker.TinkerError, ValueError)) as caught:
            call()
    finally:
        client.removeHandler(listening)
        client.setLevel(before)
    assert not [line for line in said if line.startswith("Retrying request")], "the SDK repeated what cannot succeed"
    assert time.monotonic() - start < 1, "the SDK repeated what cannot succeed"
    return caught.value


def test_what_cannot_succeed_fails_at_once_and_changes_nothing(
    service: tinker.ServiceClient, trainer: tinker.TrainingClient
) -> None:
    before = logprobs(trainer.forward(DATA, "cross_entropy").result())
    error = quick_error(lambda: service.create_lora_training_client("no-such-model", rank=4).result())
    assert isinstance(error, tinker.NotFoundError | tinker.BadRequestError)
    assert "request_id" in str(error)
    quick_error(lambda: service.create_lora_training_client(MODEL, rank=0).result())
    quick_error(lambda: service.create_training_client_from_state("tinker://other:train:0/weights/x").result())
    quick_error(lambda: service.create_sampling_client(model_path="tinker://other:train:0/weights/x").result())
    quick_error(lambda: service.create_sampling_client(base_model="no-such-model").result())
    strange = types.Datum(
        model_input=types.ModelInput.from_ints([1, 999_999]),
        loss_fn_inputs={"target_tokens": [2, 3], "weights": [1.0, 1.0]},
    )
    for spoil in (
        lambda client: client.optim_step(types.AdamParams(learning_rate=float("nan"))).result(),
        lambda client: client.forward_backward([strange], "cross_entropy").result(),
        lambda client: client.forward_backward(DATA, "no_such_loss").result(),
    ):
        quick_error(lambda spoil=spoil: spoil(service.create_lora_training_client(MODEL, rank=4).result()))
    assert logprobs(trainer.forward(DATA, "cross_entropy").result()) == before


def test_a_wrong_key_fails_at_once(tinker_server: Any) -> None:
    error = quick_error(lambda: tinker.RestClient(base_url=tinker_server.url, api_key="tml-wrong"))
    assert isinstance(error, tinker.AuthenticationError)


class Raw:
    """The wire without the SDK."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx2.Client(base_url=f"{url}/api/v1", headers={"x-api-key": key}, timeout=40)

    def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
        return self._client.post(path, json=body, headers=headers)

    def get(self, path: str) -> httpx2.Response:
        return self._client.get(path)

    def result(self, answer: httpx2.Response) -> Any:
        return self.post("/retrieve_future", {"request_id": answer.json()["request_id"]}).json()

    def start(self, rank: int = 4) -> str:
        session = self.post("/create_session", {"tags": [], "sdk_version": "0"}).json()["session_id"]
        body = {"session_id": session, "model_seq_id": 0, "base_model": MODEL, "lora_config": {"rank": rank, "seed": 1}}
        return self.result(self.post("/create_model", body))["model_id"]

    def compute(self, run: str, seq: int) -> httpx2.Response:
        datum = {
            "model_input": {"chunks": [{"tokens": [1, 2, 3]}]},
            "loss_fn_inputs": {
                "target_tokens": {"data": [2, 3, 4], "dtype": "int64"},
                "weights": {"data": [1, 1, 1], "dtype": "float32"},
            },
        }
        work = {"data": [datum], "loss_fn": "cross_entropy"}
        return self.post("/forward_backward", {"model_id": run, "seq_id": seq, "forward_backward_input": work})

    def step(self, run: str, seq: int, rate: float = 0.1) -> httpx2.Response:
        return self.post("/optim_step", {"model_id": run, "seq_id": seq, "adam_params": {"learning_rate": rate}})


@pytest.fixture
def raw(tinker_server: Any) -> Raw:
    return Raw(tinker_server.url, tinker_server.key)


def test_sequence_numbers_rule_whatever_the_order_of_arrival(raw: Raw) -> None:
    ordered, shuffled = raw.start(), raw.start()
    answers = [raw.compute(ordered, 1), raw.step(ordered, 2), raw.compute(ordered, 3)]
    expected = raw.result(answers[-1])
    late = raw.compute(shuffled, 3)
    repeated = raw.compute(shuffled, 3)
    assert late.json()["request_id"] == repeated.json()["request_id"]
    raw.step(shuffled, 2)
    raw.compute(shuffled, 1)
    raw.step(shuffled, 2)
    assert raw.result(late) == expected
    assert raw.result(repeated) == expected
    assert raw.step(shuffled, 2, rate=0.2).status_code == 422
    assert raw.step(shuffled, 3).status_code == 422


def test_a_repeated_session_is_the_same_one(raw: Raw) -> None:
    body = {"tags": [], "sdk_version": "0"}
    first = raw.post("/create_session", body, **{"x-idempotency-key": "a-1"}).json()
    assert raw.post("/create_session", body, **{"x-idempotency-key": "a-1"}).json() == first
    assert raw.post("/create_session", body, **{"x-idempotency-key": "a-2"}).json() != first


def test_another_tenant_sees_nothing(tinker_server: Any, raw: Raw) -> None:
    run = raw.start()
    saved = raw.result(raw.post("/save_weights", {"model_id": run, "seq_id": 1, "path": "mine"}))["path"]
    other = Raw(tinker_server.url, tinker_server.add_key("other"))
    promise = raw.compute(run, 2).json()
    foreign = [
        other.step(run, 3),
        other.post("/get_info", {"model_id": run}),
        other.post("/weights_info", {"tinker_path": saved}),
        other.post("/retrieve_future", {"request_id": promise["request_id"]}),
        other.get(f"/training_runs/{run}"),
        other._client.delete(f"/training_runs/{run}/checkpoints/weights/mine"),
    ]
    assert [answer.status_code for answer in foreign] == [404] * len(foreign)
    assert run not in other.get("/training_runs").text
    assert raw.post("/weights_info", {"tinker_path": saved}).status_code == 200


def test_malformed_requests_are_typed_and_quick(raw: Raw) -> None:
    run = raw.start()
    bad = [
        raw.post("/optim_step", {"model_id": run, "seq_id": 1, "adam_params": {"learning_rate": None}}),
        raw.post("/optim_step", {"model_id": run, "seq_id": 1}),
        raw.post("/optim_step", {"model_id": run, "seq_id": -1, "adam_params": {}}),
        raw.post("/create_sampling_session", {"session_id": "x", "sampling_session_seq_id": 0, "base_model": "x"}),
        raw.post("/save_weights", {"model_id": run, "seq_id": 1, "path": "../../etc/passwd"}),
        raw.post("/load_weights", {"model_id": run, "seq_id": 1, "path": "/etc/passwd", "optimizer": False}),
        raw.post("/retrieve_future", {"request_id": "pr_unknown"}),
        raw.post("/retrieve_future", {"request_id": "sp_unknown"}),
        raw.post("/create_custom_loss", {}),
        raw._client.post("/forward_backward", content=b"\xff", headers={"content-type": "application/x-protobuf"}),
        raw._client.post("/optim_step", content=b'{"adam_params": {"learning_rate": NaN}', headers={}),
    ]
    assert [answer.status_code for answer in bad] == [400, 400, 400, 404, 400, 400, 404, 410, 400, 400, 400]
    for answer in bad:
        assert answer.elapsed.total_seconds() < 0.1
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["error"]["hint"], answer.text
        assert "/work" not in answer.text
    assert raw.result(raw.compute(run, 1))["metrics"]["loss:sum"] > 0


def test_the_floor_of_an_operation(raw: Raw, capsys: pytest.CaptureFixture[str]) -> None:
    run = raw.start(rank=1)
    times: list[float] = []
    for seq in range(1, 41):
        start = time.perf_counter()
        raw.result(raw.compute(run, seq))
        times.append(1000 * (time.perf_counter() - start))
    with capsys.disabled():
        print(f"\n[forward_backward over HTTP: median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms]")  # noqa: T201 - the figure is the point
    assert statistics.median(times) < 60
