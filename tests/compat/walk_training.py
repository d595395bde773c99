"""The core loop's steps from a service to trained weights and samplers of them. They depend on one another in order."""

import math
from collections.abc import Callable
from typing import Any

from walk import JUDGED, MODEL, WEIGHTED, WHOLE, Loop, close, done, rows, step, tinker


@step("ServiceClient.create_rest_client")
def _(loop: Loop) -> None:
    loop.service = tinker.ServiceClient(user_metadata={"team": "matrix"})
    loop.rest = loop.service.create_rest_client()


@step("ServiceClient.get_server_capabilities")
def _(loop: Loop) -> None:
    assert [one.model_name for one in loop.service.get_server_capabilities().supported_models] == [MODEL]


@step("RestClient.get_server_capabilities")
def _(loop: Loop) -> None:
    assert done(loop.rest.get_server_capabilities()).supported_models


@step("RestClient.whoami")
def _(loop: Loop) -> None:
    who = done(loop.rest.whoami())
    assert who.user_urn.startswith("tml:user:"), who
    assert getattr(who, "org_urn", "tml:organization:").startswith("tml:organization:"), who


@step("ServiceClient.create_lora_training_client")
def _(loop: Loop) -> None:
    loop.trainer = done(loop.service.create_lora_training_client(MODEL, rank=4, seed=1))


@step("ServiceClient.get_console_url")
def _(loop: Loop) -> None:
    assert loop.session() in loop.service.get_console_url()


@step("TrainingClient.get_console_url")
def _(loop: Loop) -> None:
    assert loop.session() in loop.trainer.get_console_url()


@step("TrainingClient.get_info")
def _(loop: Loop) -> None:
    info = loop.trainer.get_info()
    assert (info.model_data.model_name, info.lora_rank) == (MODEL, 4), info


@step("TrainingClient.get_tokenizer")
def _(loop: Loop) -> None:
    tokenizer = loop.trainer.get_tokenizer()
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


@step("TrainingClient.forward")
def _(loop: Loop) -> None:
    before = rows(done(loop.trainer.forward(WEIGHTED, "cross_entropy")))
    assert [len(row) for row in before] == [5, 3]
    done(loop.trainer.optim_step(loop.rates(0.05)))
    assert rows(done(loop.trainer.forward(WEIGHTED, "cross_entropy"))) == before, "a forward pass left a gradient"


@step("TrainingClient.forward_backward · cross_entropy")
def _(loop: Loop) -> None:
    losses = [done(loop.trainer.forward_backward(WEIGHTED, "cross_entropy")).metrics["loss:sum"] for _ in range(2)]
    assert losses[0] == losses[1] > 0, losses


@step("TrainingClient.optim_step")
def _(loop: Loop) -> None:
    def loss() -> float:
        return -sum(sum(row) for row in rows(done(loop.trainer.forward(WEIGHTED, "cross_entropy"))))

    before = loss()
    done(loop.trainer.optim_step(loop.rates(0.05)))
    assert loss() < before


def policy_loss(loop: Loop, name: str, clipped: Callable[[float], float]) -> None:
    """Against the formula: minus the sum of ratio times advantage, or of the lower of that and its clipped form."""
    output = done(loop.trainer.forward_backward(JUDGED, name))
    inputs = JUDGED[0].loss_fn_inputs
    expected = 0.0
    for ours, old, advantage in zip(rows(output)[0], inputs["logprobs"].data, inputs["advantages"].data, strict=True):
        ratio = math.exp(ours - old)
        expected -= min(ratio * advantage, clipped(ratio) * advantage)
    assert close([output.metrics["loss:sum"]], [expected], 1e-3), (output.metrics, expected)


@step("TrainingClient.forward_backward · importance_sampling")
def _(loop: Loop) -> None:
    policy_loss(loop, "importance_sampling", lambda ratio: ratio)


@step("TrainingClient.forward_backward · ppo")
def _(loop: Loop) -> None:
    policy_loss(loop, "ppo", lambda ratio: min(max(ratio, 0.8), 1.2))


def negative_likelihood(data: list[Any], logprobs: list[Any]) -> tuple[Any, dict[str, float]]:
    loss = -sum(row.sum() for row in logprobs)
    return loss, {"mine": float(loss)}


@step("TrainingClient.forward_backward_custom")
def _(loop: Loop) -> None:
    assert done(loop.trainer.forward_backward_custom(WEIGHTED, negative_likelihood)).metrics["mine"] > 0
    before = rows(done(loop.trainer.forward(WEIGHTED, "cross_entropy")))
    done(loop.trainer.optim_step(loop.rates(0.05)))
    assert rows(done(loop.trainer.forward(WEIGHTED, "cross_entropy"))) != before


@step("ServiceClient.create_custom_loss")
def _(loop: Loop) -> None:
    def weighted(logprobs: Any, weights: Any) -> tuple[Any, dict[str, Any]]:
        return -(logprobs * weights).sum(), {}

    handle = done(loop.service.create_custom_loss(weighted, {"logprobs": 1, "weights": 1}))
    own = done(loop.trainer.forward_backward_custom(WEIGHTED, handle)).metrics["loss:sum"]
    assert close([own], [done(loop.trainer.forward_backward(WEIGHTED, "cross_entropy")).metrics["loss:sum"]])


@step("TrainingClient.save_state")
def _(loop: Loop) -> None:
    done(loop.trainer.optim_step(loop.rates(0.05)))  # a gradient that waits is not saved
    loop.saved = done(loop.trainer.save_state("halfway")).path
    assert loop.saved == f"tinker://{loop.run()}/weights/halfway"
    loop.after_saving = loop.learn(loop.trainer)


@step("TrainingClient.load_state_with_optimizer")
def _(loop: Loop) -> None:
    done(loop.trainer.load_state_with_optimizer(loop.saved))
    assert loop.learn(loop.trainer) == loop.after_saving


@step("TrainingClient.load_state")
def _(loop: Loop) -> None:
    done(loop.trainer.load_state(loop.saved))
    assert loop.learn(loop.trainer) != loop.after_saving, "the optimizer came back too"


@step("ServiceClient.create_training_client_from_state_with_optimizer")
def _(loop: Loop) -> None:
    restored = done(loop.service.create_training_client_from_state_with_optimizer(loop.saved))
    assert restored.model_id != loop.trainer.model_id
    assert loop.learn(restored) == loop.after_saving


@step("ServiceClient.create_training_client_from_state")
def _(loop: Loop) -> None:
    assert loop.learn(done(loop.service.create_training_client_from_state(loop.saved))) != loop.after_saving


@step("TrainingClient.save_weights_for_sampler")
def _(loop: Loop) -> None:
    for _ in range(5):
        loop.scores = loop.learn(loop.trainer)[1]
    loop.served = done(loop.trainer.save_weights_for_sampler("served")).path
    assert loop.served == f"tinker://{loop.run()}/sampler_weights/served"


def taught(loop: Loop, sampler: Any) -> bool:
    """Whether it scores as the trainer did when its weights were saved."""
    return close(list(done(sampler.compute_logprobs(WHOLE))[1:]), loop.scores)


@step("TrainingClient.create_sampling_client")
def _(loop: Loop) -> None:
    assert taught(loop, done(loop.trainer.create_sampling_client(loop.served)))


@step("ServiceClient.create_sampling_client · model_path")
def _(loop: Loop) -> None:
    assert taught(loop, done(loop.service.create_sampling_client(model_path=loop.served)))


@step("ServiceClient.create_sampling_client · base_model")
def _(loop: Loop) -> None:
    assert not taught(loop, done(loop.service.create_sampling_client(base_model=MODEL)))


@step("TrainingClient.save_weights_and_get_sampling_client_submit")
def _(loop: Loop) -> None:
    assert taught(loop, done(loop.trainer.save_weights_and_get_sampling_client_submit()))


@step("TrainingClient.save_weights_and_get_sampling_client")
def _(loop: Loop) -> None:
    loop.sampler = done(loop.trainer.save_weights_and_get_sampling_client())
    assert taught(loop, loop.sampler)


@step("TrainingClient.save_weights_and_get_sampling_client · inflight", "kind")
def _(loop: Loop) -> None:
    assert taught(loop, done(loop.trainer.save_weights_and_get_sampling_client(kind="inflight")))
