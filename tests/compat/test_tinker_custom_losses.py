"""Losses that clients bring, through the unmodified tinker SDK: computed on the server, by the torch backend, they must
give what the SDK computes of them on its own side.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import tinker
import torch
from tinker import types
from torch import Tensor
from torch.nn import functional

pytestmark = pytest.mark.tinker_sdk
MODEL = "tiny"
Out = tuple[Tensor, dict[str, Tensor]]


@pytest.fixture
def torch_server(llama_server: Any) -> Any:
    return llama_server[0]


@pytest.fixture
def service(torch_server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=torch_server.url, api_key=torch_server.key) as client:
        yield client


def datum(tokens: list[int], **inputs: Any) -> types.Datum:
    whole = {"target_tokens": tokens[1:]} | {name: torch.as_tensor(values) for name, values in inputs.items()}
    return types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=whole)


def policy(logprobs: Tensor, old: Tensor, advantages: Tensor, kl: Tensor) -> Out:
    ratio = torch.exp(logprobs - old)
    clipped = torch.clamp(ratio, 0.8, 1.2)
    away = (logprobs - old).square().mean()
    loss = -torch.minimum(ratio * advantages, clipped * advantages).sum() + kl * away
    return loss, {"custom/clipped:mean": (ratio != clipped).float().mean(), "custom/away:sum": away}


def sequence(logprobs: Tensor, old: Tensor, advantages: Tensor) -> Out:
    """GSPO-like, with a mask as an index, shapes read, a detached mean and functions of torch.nn.functional."""
    sampled = advantages != 0
    mean = (logprobs.detach() - old)[sampled].sum() / logprobs.shape[0]
    ratio = torch.exp(mean + logprobs - logprobs.detach())
    held = functional.softplus(-functional.logsigmoid(ratio)).sum() + functional.smooth_l1_loss(logprobs, old)
    padded = torch.cat([ratio, torch.zeros(2, device=ratio.device)])[:-2]
    return -(padded * advantages)[1:].sum() + 0.1 * held, {}


def preference(logprobs: Tensor, chosen: Tensor) -> Out:
    """Over several targets to a position."""
    return -(torch.log_softmax(logprobs, dim=-1) * chosen).sum(), {"custom/best:sum": logprobs.max(dim=1).values.sum()}


FLAT = [
    datum([5, 6, 7, 8, 9], old=[-2.0, -1.0, -3.0, -5.0], advantages=[0.0, 1.0, -1.0, 2.0], kl=0.3),
    datum([5, 6, 4], old=[-5.0, -6.0], advantages=[0.5, 1.0], kl=0.1),
]
CHOSEN = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
DEEP = [datum([5, 6, 7], target_tokens=torch.tensor([[6, 7, 8], [9, 1, 2]]), chosen=CHOSEN)]
CASES: dict[str, tuple[Callable[..., Out], dict[str, Any], list[types.Datum]]] = {
    "policy": (policy, {"logprobs": 1, "old": 1, "advantages": 1, "kl": 0}, FLAT),
    "sequence": (sequence, {"logprobs": 1, "old": 1, "advantages": 1}, FLAT),
    "preference": (preference, {"logprobs": 2, "chosen": 2}, DEEP),
}


@pytest.mark.parametrize(("loss", "ranks", "data"), CASES.values(), ids=CASES.keys())
def test_the_server_computes_what_the_client_would(
    service: tinker.ServiceClient, loss: Callable[..., Out], ranks: dict[str, Any], data: list[types.Datum]
) -> None:
    handle = service.create_custom_loss(loss, ranks).result()
    assert handle.loss_id is not None
    values: list[list[float]] = []
    seen: list[dict[str, float]] = []
    for one in (handle, replace(handle, loss_id=None)):
        trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
        for _ in range(2):
            result = trainer.forward_backward_custom(data, one).result()
            trainer.optim_step(types.AdamParams(learning_rate=0.02)).result()
        seen.append({name: result.metrics[name] for name in result.metrics if name.startswith(("custom", "loss"))})
        after = trainer.forward(data, "custom", {"loss_id": handle.loss_id}).result()  # pyright: ignore[reportArgumentType]
        seen[-1]["after"] = after.metrics["loss:sum"]
        values.append([float(lp) for fields in after.loss_fn_outputs for lp in fields["logprobs"].data])
    assert seen[0] == pytest.approx(seen[1], rel=1e-4, abs=1e-4)
    assert values[0] == pytest.approx(values[1], abs=1e-4)


def squared(logprobs: Tensor) -> Out:
    return logprobs.square().sum(), {}


def test_a_loss_is_its_owners(service: tinker.ServiceClient, torch_server: Any) -> None:
    handle = service.create_custom_loss(squared, {"logprobs": 1}).result()
    with tinker.ServiceClient(base_url=torch_server.url, api_key=torch_server.add_key("eve")) as eve:
        trainer = eve.create_lora_training_client(MODEL, rank=4).result()
        with pytest.raises(tinker.NotFoundError):
            trainer.forward_backward([datum([1, 2])], "custom", {"loss_id": str(handle.loss_id)}).result()  # pyright: ignore[reportArgumentType]


def drawn(logprobs: Tensor) -> Out:
    return (logprobs * torch.rand_like(logprobs)).sum(), {}


def vast(logprobs: Tensor) -> Out:
    return logprobs.repeat(1 << 20, 1 << 20).mean(), {}


def misfit(logprobs: Tensor) -> Out:
    return (logprobs[:2] * logprobs[:3]).sum(), {}


def unrelated(logprobs: Tensor) -> Out:
    return torch.zeros_like(logprobs).sum(), {}


def endless(logprobs: Tensor) -> Out:
    return torch.sqrt(logprobs - logprobs).sum(), {}


def test_an_operation_that_is_not_allowed_is_named_at_once(service: tinker.ServiceClient) -> None:
    with pytest.raises(tinker.BadRequestError, match=r"torch\.rand_like.*forward_backward_custom"):
        service.create_custom_loss(drawn, {"logprobs": 1}).result()


@pytest.mark.parametrize(("loss", "why"), [(vast, "cells"), (misfit, "broadcast"), (unrelated, "does not depend")])
def test_a_loss_that_fails_leaves_the_gradient_alone(service: tinker.ServiceClient, loss: Any, why: str) -> None:
    handle = service.create_custom_loss(loss, {"logprobs": 1}).result()
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    with pytest.raises(tinker.RequestFailedError, match=why):
        trainer.forward_backward_custom([datum([1, 2, 3, 4, 5])], handle).result()
    assert trainer.optim_step(types.AdamParams()).result().metrics["grad_norm"] == 0


def test_a_derivative_that_is_not_finite_is_refused(service: tinker.ServiceClient) -> None:
    handle = service.create_custom_loss(endless, {"logprobs": 1}).result()
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    with pytest.raises(tinker.RequestFailedError, match="not finite"):
        trainer.forward_backward_custom([datum([1, 2, 3])], handle).result()


def test_data_that_do_not_fit_are_refused_before_they_are_journalled(service: tinker.ServiceClient) -> None:
    handle = service.create_custom_loss(squared, {"logprobs": 1}).result()
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    with pytest.raises(tinker.BadRequestError, match="rank 1"):
        trainer.forward_backward(DEEP, "custom", {"loss_id": str(handle.loss_id)}).result()  # pyright: ignore[reportArgumentType]
    with pytest.raises(tinker.BadRequestError, match="loss_id"):
        trainer.forward_backward(FLAT, "custom").result()  # pyright: ignore[reportArgumentType]
