"""What every trainer does, whatever it computes with."""

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from fillers import made

from anubhav.errors import BadInput, NotFound
from anubhav.ports import Trainer
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

ADA, BOB = AdapterId("ada"), AdapterId("bob")
SPEC = LoraSpec(rank=16, seed=1)
STEP = OptimParams(learning_rate=0.01)
WORDS = (3, 7, 11, 5, 9, 2)
OTHERS = (4, 8, 15, 16, 23, 42)


def datum(tokens: Sequence[int] = WORDS, **inputs: Sequence[float]) -> Datum:
    columns = inputs or {"weights": [1.0] * (len(tokens) - 1)}
    arrays = {name: floats(values) for name, values in columns.items()}
    return Datum(tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), **arrays})


async def go(trainer: Trainer, work: Pass) -> PassResult:
    (result,) = await trainer.run([work])
    if result.failure:
        raise result.failure
    return result


def learning(*data: Datum, adapter: AdapterId = ADA, loss: str = "cross_entropy", backward: bool = True) -> Pass:
    return Pass(adapter, data or (datum(),), loss, backward=backward)


async def read(trainer: Trainer, adapter: AdapterId = ADA, tokens: Sequence[int] = WORDS) -> list[float]:
    result = await go(trainer, learning(datum(tokens), adapter=adapter, backward=False))
    return result.logprobs[0].tolist()


async def weights(trainer: Trainer, folder: Path, adapter: AdapterId = ADA) -> str:
    await trainer.save(adapter, made(folder), optimizer=False)
    return digest(folder / "adapter_model.safetensors")


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
async def trainer(trainer: Trainer) -> Trainer:
    await trainer.create(ADA, SPEC)
    await trainer.create(BOB, SPEC)
    return trainer


async def test_a_fresh_adapter_has_no_effect(trainer: Trainer) -> None:
    await trainer.create(BOB, LoraSpec(rank=2, seed=99))
    assert await read(trainer, BOB) == pytest.approx(await read(trainer), abs=1e-6)


async def test_logprobs_have_the_shape_of_their_targets(trainer: Trainer) -> None:
    double = Datum((3, 7), {"target_tokens": ints([7, 4, 11, 5], (2, 2)), "weights": floats([1.0] * 4, (2, 2))})
    result = await go(trainer, learning(double, datum()))
    assert [values.shape for values in result.logprobs] == [(2, 2), (5,)]
    alone = await go(trainer, learning(datum((3, 7, 11))))
    pairs = result.logprobs[0].tolist()
    assert [pairs[0], pairs[2]] == pytest.approx(alone.logprobs[0].tolist(), abs=1e-5)


async def test_the_loss_is_the_weighted_sum(trainer: Trainer) -> None:
    scales = [0.5, -1.0, 0.0, 2.0, 1.0]
    result = await go(trainer, learning(datum(WORDS, weights=scales)))
    wanted = -sum(w * p for w, p in zip(scales, result.logprobs[0].tolist(), strict=True))
    assert result.metrics["loss:sum"] == pytest.approx(wanted, abs=1e-4)


async def test_the_loss_falls(trainer: Trainer) -> None:
    losses: list[float] = []
    for _ in range(8):
        losses.append((await go(trainer, learning())).metrics["loss:sum"])
        await trainer.step(ADA, STEP)
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert losses[-1] < 0.95 * losses[0]


async def test_adapters_do_not_touch_each_other(trainer: Trainer) -> None:
    before = await read(trainer, BOB)
    await trainer.run([learning(), learning(datum(OTHERS), adapter=BOB)])
    await trainer.step(ADA, STEP)
    assert await read(trainer, BOB) == before
    assert await read(trainer) != before


async def test_one_bad_pass_fails_alone(trainer: Trainer, tmp_path: Path) -> None:
    bad = learning(loss="no_such_loss")
    stranger = learning(adapter=AdapterId("stranger"))
    first, second, third = await trainer.run([bad, learning(), stranger])
    assert isinstance(first.failure, BadInput)
    assert isinstance(third.failure, NotFound)
    assert second.failure is None
    await trainer.step(ADA, STEP)
    await go(trainer, learning(adapter=BOB))
    await trainer.step(BOB, STEP)
    assert await weights(trainer, tmp_path / "a") == await weights(trainer, tmp_path / "b", BOB)


async def test_a_forward_pass_leaves_the_gradient_alone(trainer: Trainer, tmp_path: Path) -> None:
    await go(trainer, learning())
    await go(trainer, learning(datum(OTHERS), backward=False))
    await go(trainer, learning(adapter=BOB))
    for adapter in (ADA, BOB):
        await trainer.step(adapter, STEP)
    assert await weights(trainer, tmp_path / "a") == await weights(trainer, tmp_path / "b", BOB)


async def test_two_passes_add_up_to_one(trainer: Trainer) -> None:
    await trainer.run([learning(datum(WORDS)), learning(datum(OTHERS))])
    await go(trainer, learning(datum(WORDS), datum(OTHERS), adapter=BOB))
    norms = [(await trainer.step(adapter, STEP))["grad_norm"] for adapter in (ADA, BOB)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert await read(trainer) == pytest.approx(await read(trainer, BOB), abs=1e-4)


async def test_a_step_clears_the_gradient(trainer: Trainer) -> None:
    await go(trainer, learning())
    assert (await trainer.step(ADA, STEP))["grad_norm"] > 0
    before = await read(trainer)
    assert (await trainer.step(ADA, STEP))["grad_norm"] == 0
    assert await read(trainer) == before


async def test_clipping_bounds_what_the_optimizer_sees(trainer: Trainer) -> None:
    """AdamW forgets scale but not eps: a gradient clipped far below eps hardly moves anything."""
    before = await read(trainer)
    await go(trainer, learning())
    await trainer.step(ADA, OptimParams(learning_rate=0.02, eps=1e-2, grad_clip_norm=1e-7))
    assert await read(trainer) == pytest.approx(before, abs=1e-3)
    await go(trainer, learning())
    await trainer.step(ADA, OptimParams(learning_rate=0.02, eps=1e-2))
    assert await read(trainer) != pytest.approx(before, abs=1e-3)


async def test_a_reloaded_run_takes_the_identical_next_step(trainer: Trainer, tmp_path: Path) -> None:
    for tokens in (WORDS, OTHERS):
        await go(trainer, learning(datum(tokens)))
        await trainer.step(ADA, STEP)
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=True)
    await trainer.load(BOB, tmp_path / "saved", optimizer=True)
    for adapter in (ADA, BOB):
        await go(trainer, learning(adapter=adapter))
        await trainer.step(adapter, STEP)
    assert await weights(trainer, tmp_path / "a") == await weights(trainer, tmp_path / "b", BOB)


async def test_without_its_optimizer_the_moments_start_anew(trainer: Trainer, tmp_path: Path) -> None:
    for _ in range(3):
        await go(trainer, learning())
        await trainer.step(ADA, STEP)
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=True)
    await trainer.load(BOB, tmp_path / "saved", optimizer=False)
    assert await read(trainer, BOB) == await read(trainer)
    steps = []
    for adapter in (ADA, BOB):
        await go(trainer, learning(datum(OTHERS), adapter=adapter))
        steps.append((await trainer.step(adapter, STEP))["step"])
    assert steps == [4, 1]
    assert await weights(trainer, tmp_path / "a") != await weights(trainer, tmp_path / "b", BOB)


async def test_loading_empties_the_gradient(trainer: Trainer, tmp_path: Path) -> None:
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=True)
    await go(trainer, learning())
    await trainer.load(ADA, tmp_path / "saved", optimizer=True)
    assert (await trainer.step(ADA, STEP))["grad_norm"] == 0


@pytest.mark.parametrize("loss", ["importance_sampling", "ppo"])
async def test_advantages_move_logprobs_their_way(trainer: Trainer, loss: str) -> None:
    before = await read(trainer)
    work = learning(datum(WORDS, logprobs=before, advantages=[0.0, 1.0, 0.0, -1.0, 0.0]), loss=loss)
    result = await go(trainer, work)
    assert result.metrics["loss:sum"] == pytest.approx(0, abs=1e-4)
    await trainer.step(ADA, STEP)
    after = await read(trainer)
    assert after[1] > before[1]
    assert after[3] < before[3]


async def test_at_the_sampling_policy_importance_sampling_is_cross_entropy(trainer: Trainer) -> None:
    """R = 1, so the gradients agree: −A ∇ log p."""
    own = await read(trainer)
    advantages = [0.5, -1.0, 2.0, 0.0, 1.0]
    await go(trainer, learning(datum(WORDS, logprobs=own, advantages=advantages), loss="importance_sampling"))
    await go(trainer, learning(datum(WORDS, weights=advantages), adapter=BOB))
    norms = [(await trainer.step(adapter, STEP))["grad_norm"] for adapter in (ADA, BOB)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert await read(trainer) == pytest.approx(await read(trainer, BOB), abs=1e-3)


async def test_ppo_stops_pulling_outside_its_bounds(trainer: Trainer) -> None:
    own = await read(trainer)
    far = [value - math.log(1.5) for value in own]
    for advantage, pulls in ((1.0, False), (-1.0, True)):
        work = learning(datum(WORDS, logprobs=far, advantages=[advantage] * 5), loss="ppo")
        result = await go(trainer, work)
        bound = 1.2 if advantage > 0 else 1.5
        assert result.metrics["loss:sum"] == pytest.approx(-5 * advantage * bound, rel=1e-4)
        assert ((await trainer.step(ADA, OptimParams(learning_rate=0.0)))["grad_norm"] > 0) is pulls


async def test_a_gradient_that_is_not_finite_is_refused_and_dropped(trainer: Trainer, tmp_path: Path) -> None:
    before = await weights(trainer, tmp_path / "before")
    work = learning(datum(WORDS, logprobs=[-1000.0] * 5, advantages=[1.0] * 5), loss="importance_sampling")
    await trainer.run([work])
    with pytest.raises(BadInput, match="finite"):
        await trainer.step(ADA, STEP)
    assert await weights(trainer, tmp_path / "after") == before
    assert (await trainer.step(ADA, STEP))["grad_norm"] == 0


async def test_a_blend_adds_what_its_parts_add(trainer: Trainer, tmp_path: Path) -> None:
    fresh = await read(trainer)
    await go(trainer, learning())
    await trainer.step(ADA, STEP)
    await trainer.create(BOB, LoraSpec(rank=4, seed=5, train_mlp=False))
    await go(trainer, learning(datum(OTHERS), adapter=BOB))
    await trainer.step(BOB, STEP)
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    await trainer.save(ADA, one, optimizer=False)
    await trainer.save(BOB, two, optimizer=False)
    learnt, other = await read(trainer), await read(trainer, BOB, OTHERS)
    for parts, tokens, expected in [
        ([(one, 1.0), (two, 0.0)], WORDS, learnt),
        ([(two, 1.0)], OTHERS, other),
        ([(one, 0.5), (one, 0.5)], WORDS, learnt),
        ([(one, 1.0), (one, -1.0)], WORDS, fresh),
    ]:
        await trainer.blend(AdapterId("sum"), parts)
        assert await read(trainer, AdapterId("sum"), tokens) == pytest.approx(expected, abs=1e-4)
    assert max(abs(a - b) for a, b in zip(learnt, fresh, strict=True)) > 1e-3


async def test_dropped_is_unknown(trainer: Trainer) -> None:
    await trainer.drop(ADA)
    await trainer.drop(ADA)
    with pytest.raises(NotFound):
        await trainer.step(ADA, STEP)
    assert (await read(trainer, BOB))[0] < 0
