"""Every layout learns what one process learns: the torch backend, whose code for the model is another.

Loss, gradient and weights after three steps, in fp32, within 1e-5; the norm that clips is that of the whole gradient.
"""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest
import torch
from lessons import ADA, STEP, Learnt, apart, begin_at, learn, lesson, off, plain
from tiny import Gangs

from anubhav.backends.torch.engine import TorchEngine
from anubhav.cluster.layout import Layout
from anubhav.ports import Trainer
from anubhav.types.arrays import floats
from anubhav.types.training import Datum, OptimParams, Pass

TOLERANCE = 1e-5
STILL = OptimParams(learning_rate=0.0)
LAYOUTS = [
    ("dense", Layout(tp=2)),
    ("dense", Layout(fsdp=2)),
    ("dense", Layout(tp=2, fsdp=2)),
    ("dense", Layout(pp=2)),
    ("dense", Layout(fsdp=2, sp=2)),
    ("mixture", Layout(tp=2)),
    ("mixture", Layout(fsdp=4, ep=4)),
    ("mixture", Layout(tp=2, ep=2, pp=2)),
    ("deepseek", Layout(tp=2, fsdp=2, ep=4)),
    ("deepseek", Layout(fsdp=2, ep=2, pp=2)),
    ("deepseek", Layout(fsdp=4, ep=2, sp=2)),
]


@pytest.fixture(scope="module")
def wanted(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Learnt, list[float]]]:
    """By family: where to begin, what one process makes of it, and its losses of a policy gradient at the end."""

    async def find(family: str, folder: Path) -> tuple[Path, Learnt, list[float]]:
        with closing(TorchEngine(folders[family])) as engine:
            begin = await begin_at(engine.trainer, folder / "begin")
            learnt = await learn(engine.trainer, begin, folder / "learnt", plain())
            return begin, learnt, await policy_losses(engine.trainer, learnt)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a rank has; more of them only wait for one another in models so small
    try:
        families = ("dense", "mixture", "deepseek")
        return {family: asyncio.run(find(family, tmp_path_factory.mktemp(family))) for family in families}
    finally:
        torch.set_num_threads(threads)


async def policy_losses(trainer: Trainer, learnt: Learnt) -> list[float]:
    """Losses that need the sampler's log-probabilities, cut off at a ratio of 2, by token, datum and group."""
    data: list[Datum] = []
    for number, datum in enumerate(lesson(3)):
        own = learnt.results[-1].logprobs[number].tolist()
        away = [value - 0.4 * (place % 5 - 2) for place, value in enumerate(own)]
        advantages = [(-1.0) ** place * (1 + number) for place in range(len(own))]
        inputs = {"target_tokens": datum.inputs["target_tokens"], "logprobs": floats(away)}
        inputs |= {"advantages": floats(advantages), "sequence_ratio_mask": floats([1.0] * len(own))}
        data.append(Datum(datum.tokens, inputs))
    cut = {"clip_low_threshold": 0.0, "clip_high_threshold": 2.0}
    found: list[float] = []
    masks = {"mask_high_threshold": 2.0, "geometric_mask_low_threshold": 0.9}
    for loss, options in (("cispo", cut), ("ppo", {}), ("gspo", {}), ("ppo", masks)):
        (result,) = await trainer.run([Pass(ADA, tuple(data), loss, options)])
        assert result.failure is None
        norm = (await trainer.step(ADA, STILL))["grad_norm"]
        names = (
            "loss:sum",
            "mismatch:mean",
            "mismatch:max",
            "kl_k3:mean",
            "ess:mean",
            *(["masked:mean"] * bool("mask_high_threshold" in options)),
        )
        found += [norm, *(result.metrics[name] for name in names)]
    return found


@pytest.mark.parametrize(("family", "layout"), LAYOUTS, ids=lambda value: str(value).replace(" ", "-"))
async def test_three_steps_are_those_of_one_process(
    family: str,
    layout: Layout,
    gangs: Gangs,
    wanted: dict[str, tuple[Path, Learnt, list[float]]],
    tmp_path: Path,
) -> None:
    begin, one, losses = wanted[family]
    trainer = gangs(family, layout)
    found = await learn(trainer, begin, tmp_path / "learnt", plain())
    for ours, theirs in zip(found.results, one.results, strict=True):
        assert ours.metrics["loss:sum"] == pytest.approx(theirs.metrics["loss:sum"], rel=TOLERANCE)
        for mine, wanted_ones in zip(ours.logprobs, theirs.logprobs, strict=True):
            assert mine.tolist() == pytest.approx(wanted_ones.tolist(), abs=2e-5)
        loads = {name: value for name, value in theirs.metrics.items() if name.startswith("e_")}
        assert {name: ours.metrics[name] for name in loads} == pytest.approx(loads)
    assert min(one.norms) > STEP.grad_clip_norm  # or the clipping would not be tested
    assert found.norms == pytest.approx(one.norms, rel=TOLERANCE)
    assert apart(found.gradient, one.gradient) < TOLERANCE
    assert off(found.weights, one.weights) < TOLERANCE
    assert await policy_losses(trainer, found) == pytest.approx(losses, rel=1e-3, abs=1e-5)
