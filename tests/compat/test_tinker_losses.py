"""Every loss and optimizer of the unmodified tinker SDK against a real server."""

from collections.abc import Iterator
from typing import Any

import pytest
import tinker
import torch
from tinker import types

# The SDK leaves its connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MODEL = "tiny"
DIMUON = {"type": "dimuon", "version": 1}
TOKENS, TARGETS = [5, 6, 7, 8, 9], [6, 7, 8, 9, 10]


@pytest.fixture
def service(tinker_server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as client:
        yield client


def datum(**inputs: Any) -> types.Datum:
    whole = {"target_tokens": TARGETS, **inputs}
    return types.Datum(model_input=types.ModelInput.from_ints(TOKENS), loss_fn_inputs=whole)


def policy(own: list[float], **inputs: Any) -> types.Datum:
    return datum(logprobs=own, advantages=[0.0, 1.0, -1.0, 2.0, 0.5], **inputs)


def flat(output: types.ForwardBackwardOutput) -> list[float]:
    return [float(value) for fields in output.loss_fn_outputs for value in fields["logprobs"].data]


def total(output: types.ForwardBackwardOutput) -> float:
    return output.metrics["loss:sum"]


def test_every_policy_loss(service: tinker.ServiceClient) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    own = flat(trainer.forward([datum(weights=[0.0] * 5)], "cross_entropy").result())
    plain, mask = policy(own), policy(own, sequence_ratio_mask=[0.0, 1.0, 1.0, 1.0, 1.0])
    run = [
        types.PromptProvenanceSpan(sequence_id="q", length=2),
        types.SampledProvenanceSpan(sequence_id="q", length=3),
    ]
    weighted = -sum(a * p for a, p in zip([0.0, 1.0, -1.0, 2.0, 0.5], own, strict=True))
    cases: list[tuple[types.Datum, Any, Any, float]] = [
        (plain, "importance_sampling", None, -2.5),
        (plain, "ppo", {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}, -2.5),
        (plain, "cispo", None, weighted),
        (plain, "dro", {"beta": 0.1}, weighted),
        (mask, "gspo", None, -2.5),
        (plain.with_provenance(run, run), "stable_reinforce", {"kl_coeff": 0.01}, weighted),
        (policy(own, clip_low_threshold=[0.5] * 5, clip_high_threshold=[1.5] * 5), "ppo", None, -2.5),
    ]
    for data, loss, config, value in cases:
        result = trainer.forward_backward([data], loss, config).result()
        assert total(result) == pytest.approx(value, abs=1e-3), loss
        assert len(flat(result)) == 5
    assert trainer.optim_step(types.AdamParams(learning_rate=0.05)).result().metrics["grad_norm"] > 0


def test_sparse_targets(service: tinker.ServiceClient) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    targets, weights = torch.zeros(5, 30, dtype=torch.int64), torch.zeros(5, 30)
    targets[:, 0], weights[:, 0] = torch.tensor(TARGETS), 1.0
    one = trainer.forward_backward([datum(weights=[1.0] * 5)], "cross_entropy").result()
    many = trainer.forward_backward([datum(target_tokens=targets, weights=weights)], "cross_entropy").result()
    assert total(many) == pytest.approx(total(one), abs=1e-4)
    assert many.loss_fn_outputs[0]["logprobs"].shape == [5, 30]


def test_what_cannot_work_is_refused_at_once(service: tinker.ServiceClient) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4).result()
    data = policy([-1.0] * 5)
    for loss, config in (("gspo", None), ("ppo", {"clip_low_threshold": "low"}), ("custom", {"loss_id": "x"})):
        with pytest.raises(tinker.BadRequestError):
            trainer.forward_backward([data], loss, config).result()  # pyright: ignore[reportArgumentType]


def test_dimuon_from_creation_to_a_restored_run(service: tinker.ServiceClient, tinker_server: Any) -> None:
    data = [datum(weights=[1.0] * 5)]
    trainer = service.create_lora_training_client(
        MODEL, rank=4, seed=1, optimizer=types.DimuonOptimizerConfig()
    ).result()
    assert trainer.get_info().optimizer_config.model_dump() == DIMUON
    step = types.DimuonParams(learning_rate=0.1)
    losses: list[float] = []
    for _ in range(4):
        losses.append(total(trainer.forward_backward(data, "cross_entropy").result()))
        trainer.optim_step(step).result()
    assert losses[-1] < losses[0]
    path = trainer.save_state("here").result().path
    rest = tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.key)
    assert rest.get_weights_info_by_tinker_path(path).result().optimizer_config.model_dump() == DIMUON
    restored = service.create_training_client_from_state_with_optimizer(path).result()
    assert restored.get_info().optimizer_config.model_dump() == DIMUON
    for one in (trainer, restored):
        one.forward_backward(data, "cross_entropy").result()
        one.optim_step(step).result()
    after = [flat(one.forward(data, "cross_entropy").result()) for one in (trainer, restored)]
    assert after[0] == after[1]
    fresh = service.create_training_client_from_state(path).result()
    assert fresh.get_info().optimizer_config == types.AdamOptimizerConfig()
    fresh.optim_step(types.AdamParams()).result()


def test_another_family_is_refused(service: tinker.ServiceClient) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4).result()
    assert trainer.get_info().optimizer_config == types.AdamOptimizerConfig()
    with pytest.raises(tinker.BadRequestError):
        trainer.optim_step(types.DimuonParams(learning_rate=0.1)).result()
    with pytest.raises(tinker.BadRequestError):
        service.create_lora_training_client(
            MODEL, rank=4, optimizer=types.optimizer.OptimizerConfigBase(type="sgd")
        ).result()
