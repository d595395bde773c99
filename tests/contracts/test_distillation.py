"""What every trainer makes of the reverse KL, by a formula over distributions that cross entropy has told."""

import math
from pathlib import Path

import pytest
from fillers import VOCAB, made

from anubhav.errors import NotFound
from anubhav.ports import Trainer
from anubhav.types.arrays import floats, ints
from anubhav.types.distilling import Continuation, Distillation
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

ADA, BOB, TEACHER = AdapterId("ada"), AdapterId("bob"), AdapterId("teacher")
STEP = OptimParams(learning_rate=0.01, eps=1e-3)
ONE = Continuation((3, 7, 11), (5, 9), (2, 4, 8), (1.0, 0.0, -0.5))
TWO = Continuation((3, 7, 11), (3, 7, 11), (2, 6), (2.0, 1.0))


def everything(tokens: tuple[int, ...], weights: list[list[float]] | None = None) -> Datum:
    """Every token of the vocabulary is a target of every position."""
    shape = (len(tokens), VOCAB)
    flat = [weight for row in weights or [[0.0] * VOCAB] * len(tokens) for weight in row]
    targets = ints([token for _ in tokens for token in range(VOCAB)], shape)
    return Datum(tokens, {"target_tokens": targets, "weights": floats(flat, shape)})


async def go(trainer: Trainer, work: Pass) -> PassResult:
    (result,) = await trainer.run([work])
    assert result.failure is None
    return result


async def told(trainer: Trainer, adapter: AdapterId, tokens: tuple[int, ...], count: int) -> list[list[float]]:
    """The log-probabilities of everything behind each of the last tokens."""
    result = await go(trainer, Pass(adapter, (everything(tokens),), "cross_entropy", backward=False))
    values = result.logprobs[0].tolist()
    rows = [values[place : place + VOCAB] for place in range(0, len(values), VOCAB)]
    return [[float(value) for value in row] for row in rows[-count:]]


def warmed(logprobs: list[float], temperature: float) -> list[float]:
    total = math.log(math.fsum(math.exp(value / temperature) for value in logprobs))
    return [value / temperature - total for value in logprobs]


@pytest.fixture
async def trainer(trainer: Trainer) -> Trainer:
    for adapter in (ADA, BOB, TEACHER):
        await trainer.create(adapter, LoraSpec(rank=16, seed=1))
    for adapter, word in ((ADA, 20), (BOB, 20), (TEACHER, 30)):
        data = Datum((7, 11, 2, 4), {"target_tokens": ints([word] * 4), "weights": floats([1.0] * 4)})
        await go(trainer, Pass(adapter, (data,), "cross_entropy"))
        await trainer.step(adapter, OptimParams(learning_rate=0.03))
    return trainer


@pytest.mark.parametrize(("temperature", "of_base"), [(1.0, False), (2.5, False), (1.0, True)])
async def test_the_reverse_kl_is_what_its_formula_says(
    trainer: Trainer, tmp_path: Path, temperature: float, of_base: bool
) -> None:
    """Cross entropy on every token, weighed by the derivative, must pull alike."""
    await trainer.save(TEACHER, made(tmp_path / "teacher"), optimizer=False)
    if of_base:
        await trainer.create(TEACHER, LoraSpec(rank=16, seed=1))
    losses: list[float] = []
    for datum in (ONE, TWO):
        count = len(datum.targets)
        ours = await told(trainer, ADA, datum.tokens, count)
        theirs = await told(trainer, TEACHER, datum.reference_tokens, count)
        pulls, loss = [[0.0] * VOCAB for _ in datum.tokens], 0.0
        for place, weight in enumerate(datum.weights):
            p, q = warmed(ours[place], temperature), warmed(theirs[place], temperature)
            kl = sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
            loss += weight * temperature**2 * kl
            pulls[place - count] = [
                -weight * temperature * math.exp(a) * (a - b - kl) for a, b in zip(p, q, strict=True)
            ]
        losses.append(loss)
        await go(trainer, Pass(BOB, (everything(datum.tokens, pulls),), "cross_entropy"))
    found = await trainer.distil(ADA, Distillation((ONE, TWO), temperature), None if of_base else tmp_path / "teacher")
    assert found.losses == pytest.approx(losses, rel=1e-3, abs=1e-5)
    mean = sum(losses) / 4
    wanted = {"loss:sum": sum(losses), "loss:mean": mean, "reverse_kl:mean": mean}
    assert found.metrics == pytest.approx(wanted | {"num_samples:sum": 2, "num_tokens:sum": 4}, rel=1e-3, abs=1e-5)
    norms = [(await trainer.step(adapter, STEP))["grad_norm"] for adapter in (ADA, BOB)]
    assert norms[0] > 0
    assert norms[0] == pytest.approx(norms[1], rel=2e-3)
    (ada,), (bob,) = [await told(trainer, adapter, TWO.tokens, 1) for adapter in (ADA, BOB)]
    assert ada == pytest.approx(bob, abs=2e-3)


async def test_a_student_comes_to_its_reference(trainer: Trainer, tmp_path: Path) -> None:
    taught = everything(TWO.tokens, [[float(token == 30) for token in range(VOCAB)]] * len(TWO.tokens))
    for _ in range(3):
        await go(trainer, Pass(TEACHER, (taught,), "cross_entropy"))
        await trainer.step(TEACHER, OptimParams(learning_rate=0.03))
    await trainer.save(TEACHER, made(tmp_path / "teacher"), optimizer=False)
    # A student that is sure of one word has hardly a gradient.
    await trainer.create(ADA, LoraSpec(rank=16, seed=1))
    losses: list[float] = []
    for _ in range(12):
        losses.append((await trainer.distil(ADA, Distillation((TWO,)), tmp_path / "teacher")).losses[0])
        await trainer.step(ADA, OptimParams(learning_rate=0.02))
    assert losses[0] > 0
    assert losses[-1] < 0.5 * losses[0]


async def test_gradients_add_up_and_its_own_reference_pulls_nowhere(trainer: Trainer, tmp_path: Path) -> None:
    await trainer.save(ADA, made(tmp_path / "self"), optimizer=False)
    same = await trainer.distil(ADA, Distillation((TWO,)), tmp_path / "self")
    assert same.losses == pytest.approx((0.0,), abs=1e-5)
    assert (await trainer.step(ADA, OptimParams(learning_rate=0.0)))["grad_norm"] == pytest.approx(0, abs=1e-4)
    norms: list[float] = []
    for data in ((ONE,), (ONE, ONE)):
        for datum in data:
            await trainer.distil(ADA, Distillation((datum,)), None)
        norms.append((await trainer.step(ADA, OptimParams(learning_rate=0.0)))["grad_norm"])
    assert norms[1] == pytest.approx(2 * norms[0], rel=1e-4)


async def test_a_student_nobody_knows_is_not_found(trainer: Trainer) -> None:
    with pytest.raises(NotFound):
        await trainer.distil(AdapterId("nobody"), Distillation((ONE,)), None)
