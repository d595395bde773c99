"""Dimuon against a plain implementation, module by module."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.peft_files import named_tensors
from anubhav.backends.torch.training.dimuon import orthogonal
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

RUN, TWIN = AdapterId("run"), AdapterId("twin")
SPEC = LoraSpec(rank=8, seed=5, optimizer="dimuon")
STEP = OptimParams(learning_rate=0.02, beta1=0.8, grad_clip_norm=0.5, family="dimuon")


def some_pass(seed: int, adapter: AdapterId = RUN) -> Pass:
    tokens = torch.randint(300, (60,), generator=torch.Generator().manual_seed(seed)).tolist()
    inputs = {"target_tokens": ints(tokens[1:]), "weights": floats([1.0] * 59)}
    return Pass(adapter, (Datum(tuple(tokens[:-1]), inputs),), "cross_entropy")


def named(engine: TorchEngine, tensors: list[Tensor]) -> dict[str, Tensor]:
    adapter = engine.training.pupil(RUN).adapter
    return {name: t.detach().clone() for name, t in named_tensors(engine.model.config, adapter, tensors)}


def plain_direction(m: Tensor) -> Tensor:
    """Keller Jordan's iteration on one matrix, scaled to a Frobenius norm of 1."""
    if not m.any():
        return m
    x = m.double() / m.double().norm()
    x = x.T if x.shape[0] > x.shape[1] else x
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    x = x.T if m.shape[0] > m.shape[1] else x
    return (x / x.norm()).float()


async def test_dimuon_matches_a_plain_implementation(engine: TorchEngine) -> None:
    await engine.trainer.create(RUN, SPEC)
    pupil = engine.training.pupil(RUN)
    twins = named(engine, pupil.adapter.parameters())
    momenta = {name: torch.zeros_like(value) for name, value in twins.items()}
    for seed in range(4):
        await engine.trainer.run([some_pass(seed)])
        gradients = named(engine, pupil.gradient.tensors)
        total = math.sqrt(sum(float(g.pow(2).sum()) for g in gradients.values()))
        metrics = await engine.trainer.step(RUN, STEP)
        assert metrics["grad_norm"] == pytest.approx(total, rel=1e-4)
        assert total > 0.5, "clipping was not exercised"
        for name, g in gradients.items():
            momenta[name] = 0.8 * momenta[name] + 0.2 * g * (0.5 / total)
            twins[name] -= 0.02 * math.sqrt(8 / 32) * math.sqrt(8) * plain_direction(momenta[name])
        # The iteration blows up the rounding of directions that the gradient hardly has.
        for name, value in named(engine, pupil.adapter.parameters()).items():
            torch.testing.assert_close(value, twins[name], atol=2e-4, rtol=0)
    for pair in pupil.adapter.pairs.values():
        if pair.blocks_OR is not None:
            assert not pair.b_OR[pair.blocks_OR == 0].any()


def test_directions_are_near_orthogonal_whatever_the_size() -> None:
    torch.manual_seed(0)
    wide_MRN = torch.randn(3, 8, 50) * torch.tensor([1e-25, 1.0, 1e15])[:, None, None]
    found_MRN = orthogonal(wide_MRN)
    torch.testing.assert_close(found_MRN.norm(dim=(1, 2)), torch.ones(3))
    values_MR = torch.linalg.svdvals(found_MRN) * math.sqrt(8)
    assert values_MR.min() > 0.6
    assert values_MR.max() < 1.4
    overlap_M = (found_MRN * wide_MRN / wide_MRN.norm(dim=(1, 2), keepdim=True).clamp_min(1e-30)).sum((1, 2))
    assert overlap_M[1] > 0.8
    assert not orthogonal(torch.zeros(1, 8, 50)).any()


async def test_its_memory_is_saved_and_read(engine: TorchEngine, tmp_path: Path) -> None:
    await engine.trainer.create(RUN, SPEC)
    for seed in range(3):
        await engine.trainer.run([some_pass(seed)])
        await engine.trainer.step(RUN, STEP)
    await engine.trainer.save(RUN, tmp_path, optimizer=True)
    await engine.trainer.load(TWIN, tmp_path, optimizer=True)
    assert engine.training.pupil(TWIN).moments.family == "dimuon"
    for adapter in (RUN, TWIN):
        await engine.trainer.run([some_pass(9, adapter)])
        assert (await engine.trainer.step(adapter, STEP))["step"] == 4
    ours, theirs = (engine.training.pupil(adapter).adapter.parameters() for adapter in (RUN, TWIN))
    assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True))
