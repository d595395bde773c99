"""Routing replay: the trainer sends tokens where the sampler sent them, also where the two would not agree."""

import array
import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from test_families import disturb, write
from test_peft_parity import RUN
from test_sampling import SPOKEN, prompt

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.models.mixture import Mixture
from anubhav.backends.torch.sampling.sampler import Sampling
from anubhav.errors import BadInput
from anubhav.types.arrays import Array, floats, ints
from anubhav.types.sampling import SampleRequest, SamplingParams
from anubhav.types.training import ROUTES, Datum, LoraSpec, Pass

TINY = 1e-6
"""What rounding may do to a score."""


def even_out(engine: TorchEngine, nudge: float) -> None:
    """Three experts and three are nearly even for every token: which two of them are chosen hangs on the nudge."""
    for layer in engine.model.layers:
        assert isinstance(layer.mlp, Mixture)
        for other, share in ((1, 1 + nudge), (2, 1 - nudge)):
            layer.mlp.router_XE[other::3] = layer.mlp.router_XE[::3] * share


def whole(samples: dict[int, tuple[list[int], list[float], list[Array]]], request: SampleRequest) -> list[Datum]:
    data: list[Datum] = []
    for tokens, logprobs, routes in samples.values():
        full = (*request.prompt, *tokens)
        shape = (sum(len(part) for part in routes), *routes[0].shape[1:])
        data.append(
            Datum(
                full[:-1],
                {
                    "target_tokens": ints(full[1:]),
                    "weights": floats([0.0] * (len(request.prompt) - 1) + [1.0] * len(tokens)),
                    "logprobs": floats([0.0] * (len(request.prompt) - 1) + logprobs),
                    ROUTES: Array("int32", shape, b"".join(part.data for part in routes)),
                },
            )
        )
    return data


async def sample(engine: TorchEngine, request: SampleRequest) -> list[Datum]:
    samples: dict[int, tuple[list[int], list[float], list[Array]]] = {}
    async for event in engine.sampler.sample(request):
        tokens, logprobs, routes = samples.setdefault(event.index, ([], [], []))
        tokens.extend(event.tokens)
        logprobs.extend(event.logprobs)
        assert event.routes is not None
        routes.append(event.routes)
    return whole(samples, request)


async def off(engine: TorchEngine, data: list[Datum]) -> float:
    """How far the trainer is from what the sampler said, at most."""
    (result,) = await engine.trainer.run([Pass(RUN, tuple(data), "cross_entropy")])
    assert result.failure is None
    return max(
        abs(trained - told)
        for datum, logprobs in zip(data, result.logprobs, strict=True)
        for trained, told, weight in zip(
            logprobs.tolist(), datum.inputs["logprobs"].tolist(), datum.inputs["weights"].tolist(), strict=True
        )
        if weight
    )


@pytest_asyncio.fixture(params=["qwen3 mixture", "deepseek, plain queries and rotary"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TorchEngine]:
    write(request.param, tmp_path)
    engine = TorchEngine(tmp_path)
    await disturb(engine, LoraSpec(rank=4, seed=1))
    await engine.trainer.save(RUN, tmp_path, optimizer=False)
    await engine.sampler.attach(SPOKEN, tmp_path)
    yield engine
    engine.close()


def request(seed: int, **more: int) -> SampleRequest:
    asked = SampleRequest(prompt(seed, 37), SamplingParams(20, seed=seed), adapter=SPOKEN, routes=True)
    return replace(asked, **more)


@pytest.mark.parametrize("engine", ["qwen3 mixture"], indirect=True)
async def test_near_ties_that_flip_do_not_part_sampler_and_trainer(engine: TorchEngine) -> None:
    await engine.call(lambda: even_out(engine, TINY))
    answers = await asyncio.gather(sample(engine, request(5, n=3)), sample(engine, request(6)))
    data = [datum for found in answers for datum in found]
    await engine.call(lambda: even_out(engine, -TINY))
    blind = [replace(datum, inputs={k: v for k, v in datum.inputs.items() if k != ROUTES}) for datum in data]
    assert await off(engine, blind) > 0.1, "nothing flipped"
    assert await off(engine, data) < 1e-4


async def test_what_the_sampler_tells_is_what_a_trainer_like_it_chooses(engine: TorchEngine) -> None:
    """Whether in a chunk of the prompt or token by token, one's own choice is the told one; so nothing changes."""
    data = await sample(engine, request(7, n=2))
    shape = engine.model.config.mixture
    assert shape is not None
    for datum in data:
        assert datum.inputs[ROUTES].shape == (len(datum.tokens), len(shape.layers), shape.each)
        assert len(datum.inputs[ROUTES].tolist()) == len(datum.tokens) * len(shape.layers) * shape.each
    assert await off(engine, data) < 1e-4
    free = [replace(datum, inputs={k: v for k, v in datum.inputs.items() if k != ROUTES}) for datum in data]
    assert await off(engine, free) < 1e-4


async def test_prefixes_that_went_to_other_experts_are_not_shared(engine: TorchEngine) -> None:
    (datum,) = await sample(engine, request(8))
    routes = torch.tensor(datum.inputs[ROUTES].tolist()).reshape(datum.inputs[ROUTES].shape)
    other = array.array("i", (routes ^ 1).flatten().tolist())
    twin = replace(datum, inputs={**datum.inputs, ROUTES: Array("int32", tuple(routes.shape), other.tobytes())})
    work = Pass(RUN, (datum, twin), "cross_entropy")
    together, one, two = await engine.trainer.run([work, replace(work, data=(datum,)), replace(work, data=(twin,))])
    assert together.metrics["packed:sum"] == 2 * len(datum.tokens)
    assert together.logprobs[0].tolist() == pytest.approx(one.logprobs[0].tolist(), abs=1e-5)
    assert together.logprobs[1].tolist() == pytest.approx(two.logprobs[0].tolist(), abs=1e-5)
    assert one.logprobs[0].tolist() != pytest.approx(two.logprobs[0].tolist(), abs=1e-2)


async def test_who_was_sent_back_is_told_everything_once(engine: TorchEngine) -> None:
    """A cache of few pages: samples give their pages back and are read again."""
    page_bytes = 16 * 4 * engine.model.config.layers * engine.model.config.kv_heads
    page_bytes *= engine.model.config.head_dim + engine.model.config.v_dim
    engine.sampling = Sampling(engine.model, cache_bytes=9 * page_bytes)
    found = await asyncio.gather(*(sample(engine, request(9, n=2)), sample(engine, request(10))))
    for data in found:
        for datum in data:
            assert datum.inputs[ROUTES].shape[0] == len(datum.tokens)
        assert await off(engine, data) < 1e-4


async def test_choices_that_are_not_of_the_model_are_refused(engine: TorchEngine) -> None:
    (datum,) = await sample(engine, request(11))
    routes = datum.inputs[ROUTES]
    short = Array("int32", (1, *routes.shape[1:]), routes.data[: len(routes.data) // routes.shape[0]])
    far = Array("int32", routes.shape, array.array("i", [99] * len(routes.tolist())).tobytes())
    for wrong in (short, far):
        work = Pass(RUN, (replace(datum, inputs={**datum.inputs, ROUTES: wrong}),), "cross_entropy")
        (result,) = await engine.trainer.run([work])
        assert isinstance(result.failure, BadInput)


async def test_a_model_without_experts_says_nothing_of_them(tmp_path: Path) -> None:
    write("llama", tmp_path)
    engine = TorchEngine(tmp_path)
    events = [event async for event in engine.sampler.sample(SampleRequest((1, 2), SamplingParams(3), routes=True))]
    assert all(event.routes is None for event in events)
    engine.close()
