"""What happens when a rank dies, is late, or fails alone: all of them go, nothing is repeated, a new gang begins."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lessons import ADA, BOB, SPEC, STEP, go, lesson, made, plain
from tiny import Gangs

from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.trainer import ShardedTrainer
from anubhav.cluster.sharded.worker import Plan
from anubhav.errors import BadInput, Broken, Lost, NotFound
from anubhav.types.graphs import GraphInput, GraphNode, LossGraph
from anubhav.types.training import LoraSpec, OptimParams, Pass


@pytest.fixture
def trainer(folders: dict[str, Path]) -> Iterator[ShardedTrainer]:
    with closing(ShardedTrainer(Plan(folders["dense"], Layout(fsdp=2)), deadline=20)) as trainer:
        yield trainer


@pytest.fixture
def lasting(gangs: Gangs) -> ShardedTrainer:
    """One that outlives the test."""
    return gangs("dense", Layout(fsdp=2))


def ranks() -> set[int]:
    """The processes of all gangs there are."""
    return {child.pid for child in multiprocessing.active_children() if child.name.startswith("rank-") and child.pid}


@pytest.mark.parametrize(
    ("blows", "reason"),
    [
        ([signal.SIGKILL], "died"),
        ([signal.SIGSTOP], "longer than 3 s"),
        ([signal.SIGSTOP, signal.SIGKILL], "died"),  # the other one is within a collective by then
    ],
)
async def test_one_rank_lost_is_the_gang_lost_and_a_new_one_goes_on(
    trainer: ShardedTrainer, tmp_path: Path, blows: list[int], reason: str
) -> None:
    await trainer.create(ADA, SPEC)
    for work in plain((1, 2)):
        await go(trainer, work)
        await trainer.step(ADA, STEP)
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=True)
    before = await go(trainer, Pass(ADA, lesson(3), "cross_entropy"))
    old = [process.pid for process in trainer._gang.crew._processes]
    trainer.deadline = 3.0
    os.kill(old[1], blows[0])
    under_way = asyncio.create_task(trainer.run([Pass(ADA, lesson(3), "cross_entropy")]))
    for blow in blows[1:]:
        await asyncio.sleep(0.5)
        os.kill(old[1], blow)
    with pytest.raises(Lost, match=reason):
        await under_way
    assert not set(old) & ranks()
    trainer.deadline = 20.0
    with pytest.raises(Lost, match="started anew"):
        await trainer.step(ADA, STEP)
    with pytest.raises(NotFound):
        await trainer.step(BOB, STEP)
    await trainer.load(ADA, tmp_path / "saved", optimizer=True)
    assert trainer.generation == 2
    after = await go(trainer, Pass(ADA, lesson(3), "cross_entropy"))
    assert after == before
    assert (await trainer.step(ADA, STEP))["step"] == 3


async def test_a_failure_that_one_rank_alone_can_see_fails_the_pass_on_all(lasting: ShardedTrainer) -> None:
    """A client's own loss whose derivative is infinite at one datum, which one of the data ranks has."""
    await lasting.create(ADA, SPEC)
    await go(lasting, Pass(ADA, lesson(1), "cross_entropy"))
    less = ({"ref": "logprobs"}, 0.0)  # the root of 0 has no derivative
    both = ({"ref": "root"}, {"ref": "weights"})
    roots = LossGraph(
        "roots",
        (GraphInput("logprobs", 1), GraphInput("weights", 1)),
        (
            GraphNode("placeholder", "logprobs", "logprobs", (), {}),
            GraphNode("placeholder", "weights", "weights", (), {}),
            GraphNode("call_function", "less", "operator.mul", less, {}),
            GraphNode("call_function", "root", "torch.sqrt", ({"ref": "less"},), {}),
            GraphNode("call_function", "both", "operator.mul", both, {}),
            GraphNode("call_function", "loss", "torch.sum", ({"ref": "both"},), {}),
            GraphNode("output", "output", "output", ({"tuple": [{"ref": "loss"}, {"dict": {}}]},), {}),
        ),
    )
    (result,) = await lasting.run([Pass(ADA, lesson(1, (9,)), "custom", graph=roots)])
    assert isinstance(result.failure, BadInput)
    assert "not finite" in result.failure.message
    assert lasting.generation == 1
    norm = (await lasting.step(ADA, OptimParams(learning_rate=0.0)))["grad_norm"]
    await go(lasting, Pass(ADA, lesson(1), "cross_entropy"))
    assert (await lasting.step(ADA, OptimParams(learning_rate=0.0)))["grad_norm"] == pytest.approx(norm)


async def test_a_failure_nobody_agreed_on_is_told_as_it_is_and_ends_the_gang(trainer: ShardedTrainer) -> None:
    """It would come again, so it must not look like something to repeat."""
    await trainer.create(ADA, SPEC)
    with pytest.raises(Broken) as told:
        await trainer.create(BOB, LoraSpec(rank=-1))
    assert not isinstance(told.value, Lost)
    with pytest.raises(Lost):
        await trainer.run([Pass(ADA, lesson(1), "cross_entropy")])
    await trainer.create(ADA, SPEC)
    assert trainer.generation == 2


async def test_what_only_one_rank_would_stumble_over_is_refused_before_it_begins(lasting: ShardedTrainer) -> None:
    await lasting.create(ADA, SPEC)
    good, bad = lesson(1, (5, 6))
    lacking = type(bad)(bad.tokens, {"target_tokens": bad.inputs["target_tokens"]})
    far = type(bad)((*bad.tokens[:-1], 96), bad.inputs)
    long = lesson(1, (65,))[0]
    for datum, reason in ((lacking, "needs weights"), (far, "does not have"), (long, "more than the model's 64")):
        (result,) = await lasting.run([Pass(ADA, (good, datum), "cross_entropy")])
        assert isinstance(result.failure, BadInput)
        assert reason in result.failure.message
    assert lasting.generation == 1


async def test_a_caller_that_goes_away_leaves_the_ranks_in_step(lasting: ShardedTrainer) -> None:
    await lasting.create(ADA, SPEC)
    task = asyncio.create_task(lasting.run(plain()))
    await asyncio.sleep(0.01)
    task.cancel()
    assert (await go(lasting, Pass(ADA, lesson(1), "cross_entropy"))).metrics["loss:sum"] > 0


def test_a_layout_that_does_not_fit_starts_nothing(folders: dict[str, Path]) -> None:
    before = ranks()
    with pytest.raises(BadInput, match="The nearest that works on 3 processes: fsdp=3"):
        ShardedTrainer(Plan(folders["dense"], Layout(tp=3)))
    assert ranks() == before
