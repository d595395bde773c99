"""Both number formats: what stays float32 in either, how far sampler and trainer agree, and what a pass says of it."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from anubhav.backends.torch import precision
from anubhav.backends.torch.engine import TorchEngine
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import SampleRequest, SamplingParams
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

RUN = AdapterId("run")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
PROMPT = (5, 9, 200, 31, 7)
BOTH = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
needs_bfloat16 = pytest.mark.skipif(not precision.has_bfloat16(), reason="this CPU computes in float32")


def datum(tokens: Sequence[int], logprobs: Sequence[float], advantages: Sequence[float]) -> Datum:
    columns = {"logprobs": floats(logprobs), "advantages": floats(advantages), "weights": floats(advantages)}
    return Datum(tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), **columns})


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def go(
    engine: TorchEngine, data: Sequence[Datum], loss: str, config: Mapping[str, float] | None = None
) -> PassResult:
    (result,) = await engine.trainer.run([Pass(RUN, tuple(data), loss, config or {})])
    assert result.failure is None
    return result


async def sampled(engine: TorchEngine, folder: Path) -> list[Datum]:
    """Replies of the run as it is, ready to be trained on."""
    await engine.trainer.save(RUN, made(folder), optimizer=False)
    adapter = AdapterId(folder.name)
    await engine.sampler.attach(adapter, folder)
    said: dict[int, list[tuple[int, float]]] = {}
    request = SampleRequest(prompt=PROMPT, params=SamplingParams(max_tokens=20, seed=3), n=4, adapter=adapter)
    async for event in engine.sampler.sample(request):
        said.setdefault(event.index, []).extend(zip(event.tokens, event.logprobs, strict=True))
    blank = [0.0] * (len(PROMPT) - 1)
    return [
        datum(
            [*PROMPT, *(token for token, _ in one)],
            [*blank, *(logprob for _, logprob in one)],
            [*blank, *(1.0 if number % 2 else -0.5 for number in range(len(one)))],
        )
        for one in said.values()
    ]


@needs_bfloat16
@BOTH
async def test_sampler_and_trainer_agree_as_far_as_their_numbers_go(
    tiny_llama: Path, tmp_path: Path, dtype: str
) -> None:
    engine = TorchEngine(tiny_llama, dtype=dtype)
    await engine.trainer.create(RUN, LoraSpec(rank=4, seed=1))
    away: list[float] = []
    for number in range(3):
        data = await sampled(engine, tmp_path / f"ad_{number}")
        metrics = (await go(engine, data, "importance_sampling")).metrics
        away.append(metrics["mismatch:max"])
        assert 0 <= metrics["mismatch:mean"] <= metrics["mismatch:max"]
        assert 1 - 1e-2 < metrics["ess:mean"] <= 1 + 1e-9
        await engine.trainer.step(RUN, OptimParams(learning_rate=1e-2))
    assert max(away) < {"float32": 1e-4, "bfloat16": 0.1}[dtype]
    stale = (await go(engine, data, "importance_sampling")).metrics
    assert stale["mismatch:mean"] > 10 * max(away), "a step was taken since these were sampled"
    assert stale["ess:mean"] < 1
    engine.close()


@needs_bfloat16
async def test_bfloat16_pulls_the_same_way_and_learns_in_float32(tiny_llama: Path) -> None:
    data = [datum([*PROMPT, *range(40, 60)], [-5.0] * 24, [1.0] * 24)]
    gradients: list[list[torch.Tensor]] = []
    for dtype in ("float32", "bfloat16"):
        engine = TorchEngine(tiny_llama, dtype=dtype)
        assert engine.model.dtype == getattr(torch, dtype)
        await engine.trainer.create(RUN, LoraSpec(rank=4, seed=1))
        await go(engine, data, "cross_entropy")
        pupil = engine.training.pupil(RUN)
        gradients.append(pupil.gradient.tensors)
        await engine.trainer.step(RUN, OptimParams(learning_rate=1e-3))
        kept = (*pupil.adapter.parameters(), *pupil.moments.first, *pupil.moments.second, *gradients[-1])
        assert {one.dtype for one in kept} == {torch.float32}
        engine.close()
    off = sum(float((a - b).square().sum()) for a, b in zip(*gradients, strict=True))
    assert 0 < off < 0.05**2 * sum(float(a.square().sum()) for a in gradients[0])


async def test_what_a_pass_says_of_the_weights(engine: TorchEngine) -> None:
    await engine.trainer.create(RUN, LoraSpec(rank=2))
    tokens = [3, 7, 11, 5, 9]
    own = (await go(engine, [datum(tokens, [0.0] * 4, [1.0] * 4)], "cross_entropy")).logprobs[0].tolist()
    away, advantages = [0.5, -0.25, 8.0, 1.0], [1.0, -1.0, 0.0, 2.0]
    data = [datum(tokens, [p - d for p, d in zip(own, away, strict=True)], advantages)]
    metrics = (await go(engine, data, "importance_sampling")).metrics
    ratios = [math.exp(d) for d, a in zip(away, advantages, strict=True) if a]
    assert metrics["mismatch:mean"] == pytest.approx(1.75 / 3, abs=1e-5)
    assert metrics["mismatch:max"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["ess:mean"] == pytest.approx(sum(ratios) ** 2 / sum(r * r for r in ratios) / 3, rel=1e-5)
    assert metrics["kl:mean"] == pytest.approx(-1.25 / 3, abs=1e-5)
    assert metrics["kl_k3:mean"] == pytest.approx(sum(r - 1 - math.log(r) for r in ratios) / 3, rel=1e-4)
    assert "masked:mean" not in metrics
    bounds = {"mask_low_threshold": 0.8, "mask_high_threshold": 2.0}
    assert (await go(engine, data, "ppo", bounds)).metrics["masked:mean"] == pytest.approx(2 / 3)
    assert (await go(engine, data, "ppo", {"sequence_mask_high_threshold": 3.4})).metrics["masked:mean"] == 1
    idle = (await go(engine, [datum(tokens, [0.0] * 4, [0.0] * 4)], "ppo")).metrics
    assert (idle["mismatch:mean"], idle["mismatch:max"], idle["ess:mean"]) == (0, 0, 1)
    far = (await go(engine, [datum(tokens, [-1000.0] * 4, [1.0] * 4)], "dro")).metrics
    assert all(math.isfinite(value) for value in far.values())
    plain = (await go(engine, [datum(tokens, [0.0] * 4, [1.0] * 4)], "cross_entropy")).metrics
    assert not plain.keys() & {"mismatch:mean", "mismatch:max", "ess:mean"}


def test_a_cpu_without_bfloat16_computes_in_float32_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    precision._tell.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [precision.chosen("bfloat16", CPU) for _ in range(2)] == [torch.float32] * 2
    assert len(caplog.records) == 1
    assert precision.chosen("bfloat16", GPU) == torch.bfloat16
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    assert precision.chosen("bfloat16", CPU) == torch.bfloat16
    assert (precision.chosen(None, CPU), precision.chosen(None, GPU)) == (torch.float32, torch.bfloat16)
