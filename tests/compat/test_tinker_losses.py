"""Every loss and optimizer of the unmodified tinker SDK against a real server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tinker
import torch
from peft import PeftModel
from tinker import types
from transformers import LlamaForCausalLM

pytestmark = pytest.mark.tinker_sdk

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


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:`is_gradient_checkpointing`")
def test_several_targets_to_a_position_pull_as_autograd_says(llama_server: tuple[Any, Path]) -> None:
    """Distillation on the 20 likeliest tokens, sent sparse: some weights are negative, some rows hold fewer targets."""
    server, folder = llama_server
    torch.manual_seed(2)
    tokens = torch.randint(1, 258, (120,))
    targets, weights = torch.zeros(120, 20, dtype=torch.int64), torch.zeros(120, 20)
    for row in range(120):
        count = row % 5 * 4
        targets[row, :count] = torch.randint(1, 258, (count,))
        weights[row, :count] = torch.randn(count)
    data = [types.Datum(types.ModelInput.from_ints(tokens.tolist()), {"target_tokens": targets, "weights": weights})]
    assert data[0].loss_fn_inputs["target_tokens"].sparse_col_indices is not None
    with tinker.ServiceClient(base_url=server.url, api_key=server.key) as client:
        trainer = client.create_lora_training_client(MODEL, rank=4, seed=1).result()
        trainer.forward_backward([datum(weights=[1.0] * 5)], "cross_entropy").result()
        trainer.optim_step(types.AdamParams(learning_rate=0.05)).result()  # both factors have a gradient from here on
        path = trainer.save_state("first").result().path
        result = trainer.forward_backward(data, "cross_entropy").result()
        found = trainer.optim_step(types.AdamParams(learning_rate=0.01)).result().metrics["grad_norm"]
    shelf, run = server.house.desk.checkpoints, asyncio.run_coroutine_threadsafe
    saved = run(shelf.folder(run(shelf.find("local", path), server.loop).result()), server.loop).result()
    base = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(saved), is_trainable=True)
    logprobs = theirs(tokens[None]).logits[0].log_softmax(-1).gather(-1, targets)
    loss = -(weights * logprobs).sum()
    loss.backward()
    gradients = [p.grad for p in theirs.parameters() if p.grad is not None]
    assert total(result) == pytest.approx(float(loss.detach()), rel=1e-4)
    assert flat(result) == pytest.approx(logprobs.detach().flatten().tolist(), abs=1e-4)
    assert found == pytest.approx(float(torch.stack([g.norm() for g in gradients]).norm()), rel=1e-4)


def test_what_cannot_work_is_refused_at_once(service: tinker.ServiceClient) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4).result()
    data = policy([-1.0] * 5)
    for loss, config in (("gspo", None), ("ppo", {"clip_low_threshold": "low"}), ("custom", {"loss_id": "x"})):
        with pytest.raises((tinker.BadRequestError, tinker.NotFoundError)):
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


def sampled(sequence: Any, prompt: list[int], *, known: bool) -> types.Datum:
    """As the cookbook's rl_loop makes them: what the prompt was, then what was sampled."""
    tokens, said, sequence_id = [*prompt, *sequence.tokens[:-1]], len(sequence.tokens), sequence.sequence_id
    idle = len(prompt) - 1
    inputs: dict[str, Any] = {
        "target_tokens": [0] * idle + sequence.tokens,
        "advantages": [0.0] * idle + [1.0, -0.5, 2.0, 0.5][:said],
    }
    if known:
        inputs["logprobs"] = [0.0] * idle + sequence.logprobs
    whole = types.Datum(model_input=types.ModelInput.from_ints(tokens), loss_fn_inputs=inputs)
    return whole.with_provenance(
        [
            types.PromptProvenanceSpan(sequence_id=sequence_id, length=len(prompt)),
            types.SampledProvenanceSpan(sequence_id=sequence_id, length=said - 1),
        ],
        [
            types.PromptProvenanceSpan(sequence_id=sequence_id, offset=1, length=idle),
            types.SampledProvenanceSpan(sequence_id=sequence_id, length=said),
        ],
    )


def test_logprobs_are_found_by_provenance(service: tinker.ServiceClient) -> None:
    prompt, params = [5, 6, 7], types.SamplingParams(max_tokens=4, temperature=0.7, seed=3, stop=[])
    after: list[list[float]] = []
    for known in (True, False):
        trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
        sampler = trainer.save_weights_and_get_sampling_client(record_stability_info=True).result()
        said = sampler.sample(types.ModelInput.from_ints(prompt), 2, params).result().sequences
        data = [sampled(one, prompt, known=known) for one in said]
        for loss, config in (("stable_reinforce", {"kl_coeff": 0.3}), ("importance_sampling", None)):
            result = trainer.forward_backward(data, loss, config).result()
            after.append([total(result), *flat(result)])
            trainer.optim_step(types.AdamParams(learning_rate=0.05)).result()
        after.append(flat(trainer.forward([datum(weights=[1.0] * 5)], "cross_entropy").result()))
    assert after[3:] == after[:3]


def test_provenance_that_leads_nowhere_is_refused_at_once(service: tinker.ServiceClient, tinker_server: Any) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    prompt, params = [5, 6, 7], types.SamplingParams(max_tokens=4, seed=3, stop=[])

    def say(client: tinker.ServiceClient, **options: Any) -> types.SampledSequence:
        sampler = client.create_sampling_client(base_model=MODEL, **options).result()
        return sampler.sample(types.ModelInput.from_ints(prompt), 1, params).result().sequences[0]

    kept = say(service, record_stability_info=True)
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.add_key("eve")) as eve:
        hers = say(eve, record_stability_info=True)
    for one in (say(service), hers):
        with pytest.raises(tinker.BadRequestError, match=one.sequence_id):
            trainer.forward_backward([sampled(one, prompt, known=False)], "stable_reinforce").result()
    whole = sampled(kept, prompt, known=False)
    other = {**whole.loss_fn_inputs, "target_tokens": [0, 0, *reversed(kept.tokens)]}
    idle = {**whole.loss_fn_inputs, "advantages": [1.0] * 6}
    for inputs, why in ((other, "targets that are not"), (idle, "on tokens of a prompt")):
        with pytest.raises(tinker.BadRequestError, match=why):
            bad = types.Datum(whole.model_input, inputs).with_provenance(
                whole.model_input_spans or [], whole.loss_fn_input_spans or []
            )
            trainer.forward_backward([bad], "stable_reinforce").result()
