"""The same three steps for any trainer, and what is left of them to compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from anubhav.ports import Trainer
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

ADA, BOB = AdapterId("ada"), AdapterId("bob")
SPEC = LoraSpec(rank=8, seed=1)
STEP = OptimParams(learning_rate=1e-3, eps=1e-3, grad_clip_norm=20.0)
"""Without its eps AdamW would make a whole step of a cell's gradient that is nothing but rounding."""
LENGTHS = (9, 24, 13, 17, 5)
VOCAB = 96


def lesson(seed: int, lengths: Sequence[int] = LENGTHS) -> tuple[Datum, ...]:
    """Sequences of several lengths, with a weight at each token."""
    generator = torch.Generator().manual_seed(seed)
    data: list[Datum] = []
    for length in lengths:
        tokens = torch.randint(0, VOCAB, (length + 1,), generator=generator).tolist()
        weights = floats(torch.rand(length, generator=generator).tolist())
        data.append(Datum(tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), "weights": weights}))
    return tuple(data)


@dataclass(frozen=True, slots=True)
class Learnt:
    results: list[PassResult]
    norms: list[float]
    gradient: dict[str, Tensor]
    """Of the first step, after clipping."""
    weights: dict[str, Tensor]
    """After the last."""


def tensors(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


async def go(trainer: Trainer, work: Pass) -> PassResult:
    (result,) = await trainer.run([work])
    if result.failure:
        raise result.failure
    return result


async def learn(
    trainer: Trainer, begin: Path, folder: Path, lessons: Sequence[Pass], step: OptimParams = STEP
) -> Learnt:
    """Three steps, or as many as there are lessons, from the adapter in `begin`."""
    results: list[PassResult] = []
    norms: list[float] = []
    gradient: dict[str, Tensor] = {}
    await trainer.load(ADA, begin, optimizer=False)
    for number, work in enumerate(lessons):
        results.append(await go(trainer, work))
        norms.append((await trainer.step(ADA, step))["grad_norm"])
        if not number:
            saved = made(folder / "first")
            await trainer.save(ADA, saved, optimizer=True)
            # The first average of the gradient is 1 - beta1 of it.
            moments = tensors(saved / "optimizer.safetensors")
            gradient = {
                name.removeprefix("first."): value / (1 - step.beta1)
                for name, value in moments.items()
                if name.startswith("first.")
            }
    await trainer.save(ADA, made(folder / "last"), optimizer=False)
    return Learnt(results, norms, gradient, tensors(folder / "last/adapter_model.safetensors"))


def apart(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest difference of a tensor from what it should be, in the L2 norm, relative to that."""
    assert found.keys() == wanted.keys()
    return max(float((found[name] - one).norm() / one.norm().clamp_min(1e-3)) for name, one in wanted.items())


def off(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest difference of a cell."""
    assert found.keys() == wanted.keys()
    return max(float((found[name] - one).abs().max()) for name, one in wanted.items())


def plain(seeds: Sequence[int] = (1, 2, 3)) -> list[Pass]:
    return [Pass(ADA, lesson(seed), "cross_entropy") for seed in seeds]


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


async def begin_at(trainer: Trainer, folder: Path) -> Path:
    """A saved adapter whose B is not zero, so that A has a gradient too."""
    await trainer.create(BOB, SPEC)
    await go(trainer, Pass(BOB, lesson(9), "cross_entropy"))
    await trainer.step(BOB, OptimParams(learning_rate=0.03))
    await trainer.save(BOB, made(folder), optimizer=False)
    return folder
