"""What every trainer makes of each loss and each optimizer, by formulas that a reader can check."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from fillers import Filler, made

from anubhav.backends.fake.trainer import FakeTrainer
from anubhav.errors import BadInput
from anubhav.ports import Trainer
from anubhav.types.arrays import floats, ints
from anubhav.types.graphs import GraphInput, GraphNode, LossGraph
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

ADA, BOB = AdapterId("ada"), AdapterId("bob")
WORDS, OTHERS = (3, 7, 11, 5, 9, 2), (4, 8, 15, 16, 23, 42)
ADVANTAGES = [0.5, -1.0, 2.0, 0.0, 1.0]
AWAY = [0.3, -0.4, 1.5, 0.2, -0.9]
"""log p − log q, at each position."""
MASK = [0.0, 1.0, 1.0, 0.0, 1.0]
DIMUON = OptimParams(learning_rate=0.05, family="dimuon")


def datum(tokens: Sequence[int] = WORDS, **inputs: Sequence[float]) -> Datum:
    columns = inputs or {"weights": [1.0] * (len(tokens) - 1)}
    arrays = {name: floats(values) for name, values in columns.items()}
    return Datum(tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), **arrays})


async def go(trainer: Trainer, work: Pass) -> PassResult:
    (result,) = await trainer.run([work])
    if result.failure:
        raise result.failure
    return result


async def read(trainer: Trainer, adapter: AdapterId = ADA) -> list[float]:
    work = Pass(adapter, (datum(),), "cross_entropy", backward=False)
    return [float(value) for value in (await go(trainer, work)).logprobs[0].tolist()]


@pytest.fixture
async def trainer(trainer: Trainer) -> Trainer:
    for adapter in (ADA, BOB):
        await trainer.create(adapter, LoraSpec(rank=16, seed=1))
    return trainer


Formula = Callable[[float, float, float], tuple[float, float]]
"""(log p, its distance from log q, advantage) → (value, derivative by log p)."""


def clipped(ratio: float, a: float, low: float, high: float) -> tuple[float, float]:
    free, bound = ratio * a, min(max(ratio, low), high) * a
    return -min(free, bound), -free if free <= bound else 0.0


def weighed(weight: float, lp: float, a: float) -> tuple[float, float]:
    return -weight * lp * a, -weight * a


def unless(masked: bool, told: tuple[float, float]) -> tuple[float, float]:
    return (0.0, 0.0) if masked else told


MEAN = sum(away for away, mark in zip(AWAY, MASK, strict=True) if mark) / 3
CASES: dict[str, tuple[str, Mapping[str, float], Formula]] = {
    "ppo": ("ppo", {}, lambda _, d, a: clipped(math.exp(d), a, 0.8, 1.2)),
    "cispo": ("cispo", {}, lambda lp, d, a: weighed(min(math.exp(d), 4.0), lp, a)),
    "cispo clips": (
        "cispo",
        {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1},
        lambda lp, d, a: weighed(min(max(math.exp(d), 0.9), 1.1), lp, a),
    ),
    "dro": ("dro", {}, lambda lp, d, a: (0.025 * d * d - lp * a, 0.05 * d - a)),
    "dro beta": ("dro", {"beta": 2.0}, lambda lp, d, a: (d * d - lp * a, 2 * d - a)),
    "gspo": ("gspo", {}, lambda _, d, a: clipped(math.exp(MEAN), a, 1 - 3e-4, 1 + 4e-4)),
    "gspo wide": (
        "gspo",
        {"clip_low_threshold": 0.5, "clip_high_threshold": 2.0},
        lambda _, d, a: clipped(math.exp(MEAN), a, 0.5, 2.0),
    ),
    "masked tokens": (
        "importance_sampling",
        {"mask_low_threshold": 0.5, "mask_high_threshold": 2.0},
        lambda _, d, a: unless(not 0.5 <= math.exp(d) <= 2, (-math.exp(d) * a, -math.exp(d) * a)),
    ),
    "masked dro": (
        "dro",
        {"mask_high_threshold": 1.3},
        lambda lp, d, a: unless(math.exp(d) > 1.3, (0.025 * d * d - lp * a, 0.05 * d - a)),
    ),
    "masked gspo": (
        "gspo",
        {"mask_high_threshold": 2.0, "clip_low_threshold": 0.1},
        lambda _, d, a: unless(math.exp(d) > 2, clipped(math.exp((-0.4 - 0.9) / 2), a, 0.1, 1 + 4e-4)),
    ),
    "sequence within its mask": (
        "ppo",
        {"sequence_mask_high_threshold": 1.7, "geometric_mask_low_threshold": 1.1},
        lambda _, d, a: clipped(math.exp(d), a, 0.8, 1.2),
    ),
    "sequence weight": (
        "cispo",
        {"sequence_clip_high_threshold": 2.0},
        lambda lp, _, a: weighed(math.exp(0.3 - 0.4 + 1.5 - 0.9), lp, a),
    ),
    "sequence weight clips": (
        "cispo",
        {"sequence_clip_low_threshold": 1.0, "sequence_clip_high_threshold": 1.2},
        lambda lp, _, a: weighed(1.2, lp, a),
    ),
    "stable_reinforce": ("stable_reinforce", {}, lambda lp, d, a: weighed(min(math.exp(d), 2.0), lp, a)),
    "stable_reinforce kl": (
        "stable_reinforce",
        {"kl_coeff": 0.5},
        lambda lp, d, a: (
            weighed(min(math.exp(d), 2.0), lp, a)[0] + (0.25 * d * d if a else 0.0),
            weighed(min(math.exp(d), 2.0), lp, a)[1] + (0.5 * d if a else 0.0),
        ),
    ),
}


@pytest.mark.parametrize(("loss", "config", "formula"), CASES.values(), ids=CASES.keys())
async def test_a_policy_loss_pulls_as_its_formula_says(
    trainer: Trainer, loss: str, config: Mapping[str, float], formula: Formula
) -> None:
    """Cross entropy with the derivative for weights must pull alike."""
    own = await read(trainer)
    inputs = {"logprobs": [p - d for p, d in zip(own, AWAY, strict=True)], "advantages": ADVANTAGES}
    if loss == "gspo":
        inputs["sequence_ratio_mask"] = MASK
    wanted = [formula(*row) for row in zip(own, AWAY, ADVANTAGES, strict=True)]
    result = await go(trainer, Pass(ADA, (datum(**inputs),), loss, config))
    assert result.metrics["loss:sum"] == pytest.approx(sum(value for value, _ in wanted), rel=1e-4, abs=1e-4)
    await go(trainer, Pass(BOB, (datum(weights=[-slope for _, slope in wanted]),), "cross_entropy"))
    step = OptimParams(learning_rate=0.01, eps=1e-3)
    norms = [(await trainer.step(adapter, step))["grad_norm"] for adapter in (ADA, BOB)]
    assert norms[0] > 0
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    assert await read(trainer) == pytest.approx(await read(trainer, BOB), abs=2e-3)


@pytest.mark.parametrize("mask", ["sequence_mask_high_threshold", "geometric_mask_high_threshold"])
@pytest.mark.parametrize("loss", ["importance_sampling", "ppo", "cispo", "dro", "gspo", "stable_reinforce"])
async def test_a_datum_out_of_bounds_counts_for_nothing(trainer: Trainer, loss: str, mask: str) -> None:
    own = await read(trainer)
    marks = {"sequence_ratio_mask": [1.0] * 5} if loss == "gspo" else {}
    near, far = (
        datum(logprobs=[p - d for p in own], advantages=[1.0, 2.0, 1.0, -0.5, 1.0], **marks) for d in (0.01, 100.0)
    )
    for adapter, data in ((ADA, (near, far)), (BOB, (near,))):
        result = await go(trainer, Pass(adapter, data, loss, {mask: 1.1}))
        alone = await go(trainer, Pass(adapter, (near,), loss, backward=False))
        assert result.metrics["loss:sum"] == pytest.approx(alone.metrics["loss:sum"], rel=1e-5)
    norms = [(await trainer.step(adapter, OptimParams()))["grad_norm"] for adapter in (ADA, BOB)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert norms[0] > 0


@pytest.mark.parametrize("loss", ["ppo", "cispo", "gspo"])
async def test_thresholds_may_come_token_by_token_and_datum_by_datum(trainer: Trainer, loss: str) -> None:
    own = await read(trainer)
    inputs = {"logprobs": [p - 0.5 for p in own], "advantages": [1.0] * 5}
    if loss == "gspo":
        inputs["sequence_ratio_mask"] = [1.0] * 5
    bounds = {"clip_low_threshold": [0.0] * 5, "clip_high_threshold": [1.0, 1.25, 1.5, 1.75, 2.0]}
    data = (datum(**inputs, **bounds), datum(**inputs))
    config = {"clip_low_threshold": 0.0, "clip_high_threshold": 1.125}
    result = await go(trainer, Pass(ADA, data, loss, config, backward=False))
    ratios = [min(math.exp(0.5), high) for high in (*bounds["clip_high_threshold"], *[1.125] * 5)]
    values = [ratio * (lp if loss == "cispo" else 1.0) for ratio, lp in zip(ratios, own + own, strict=True)]
    assert result.metrics["loss:sum"] == pytest.approx(-sum(values), rel=1e-4)


async def test_several_targets_to_a_position_add_up(trainer: Trainer) -> None:
    shape = (2, 2)
    arrays = {"logprobs": floats([-3.0] * 4, shape), "advantages": floats([1.0, -1.0, 0.5, 2.0], shape)}
    pair = Datum((3, 7), {"target_tokens": ints([7, 4, 11, 5], shape), **arrays})
    for loss, value in (("cispo", lambda lp, a: -min(math.exp(lp + 3), 4) * lp * a), ("dro", None)):
        result = await go(trainer, Pass(ADA, (pair,), loss))
        lps = [float(lp) for lp in result.logprobs[0].tolist()]
        find = value or (lambda lp, a: 0.025 * (lp + 3) ** 2 - lp * a)
        wanted = sum(find(lp, a) for lp, a in zip(lps, (1.0, -1.0, 0.5, 2.0), strict=True))
        assert result.metrics["loss:sum"] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


SQUARES = LossGraph(
    "squares",
    (GraphInput("logprobs", 1),),
    (
        GraphNode("placeholder", "x", "logprobs", (), {}),
        GraphNode("call_method", "y", "square", ({"ref": "x"},), {}),
        GraphNode("call_method", "z", "sum", ({"ref": "y"},), {}),
        GraphNode("output", "output", "output", ({"tuple": [{"ref": "z"}, {"dict": {}}]},), {}),
    ),
)


@pytest.mark.parametrize(("loss", "graph"), [("custom", None), ("cross_entropy", SQUARES)])
async def test_a_graph_and_the_loss_custom_belong_together(
    trainer: Trainer, loss: str, graph: LossGraph | None
) -> None:
    (result,) = await trainer.run([Pass(ADA, (datum(),), loss, graph=graph)])
    assert isinstance(result.failure, BadInput)


async def test_a_clients_own_loss_is_computed_or_refused(trainer: Trainer, filler: Filler) -> None:
    own = await read(trainer)
    (result,) = await trainer.run([Pass(ADA, (datum(),), "custom", graph=SQUARES)])
    if isinstance(filler.trainer, FakeTrainer):
        assert isinstance(result.failure, BadInput)
        assert (await trainer.step(ADA, OptimParams()))["grad_norm"] == 0
        return
    assert result.metrics["loss:sum"] == pytest.approx(sum(lp * lp for lp in own), rel=1e-4)
    await go(trainer, Pass(BOB, (datum(weights=[-2 * lp for lp in own]),), "cross_entropy"))
    norms = [(await trainer.step(adapter, OptimParams(learning_rate=0.02)))["grad_norm"] for adapter in (ADA, BOB)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert await read(trainer) == pytest.approx(await read(trainer, BOB), abs=1e-3)


@pytest.mark.parametrize(
    "config",
    [
        {"clip_low_threshold": "0.8"},
        {"anything": "text"},
        {"clip_high_threshold": 0.1},
        {"mask_low_threshold": 2.0, "mask_high_threshold": 1.0},
    ],
)
async def test_options_a_loss_cannot_use_fail_the_pass(trainer: Trainer, config: Mapping[str, float | str]) -> None:
    work = Pass(ADA, (datum(logprobs=[-1.0] * 5, advantages=[1.0] * 5),), "ppo", config)
    (result,) = await trainer.run([work])
    assert isinstance(result.failure, BadInput)


async def test_dimuon_learns(trainer: Trainer) -> None:
    losses: list[float] = []
    for _ in range(6):
        losses.append((await go(trainer, Pass(ADA, (datum(),), "cross_entropy"))).metrics["loss:sum"])
        assert (await trainer.step(ADA, DIMUON))["grad_norm"] > 0
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert losses[-1] < 0.95 * losses[0]


async def test_dimuons_step_does_not_depend_on_the_gradients_size(trainer: Trainer) -> None:
    for adapter, weight in ((ADA, 1.0), (BOB, 1e-3)):
        await go(trainer, Pass(adapter, (datum(weights=[weight] * 5),), "cross_entropy"))
        await trainer.step(adapter, DIMUON)
    assert await read(trainer) == pytest.approx(await read(trainer, BOB), abs=1e-3)


async def test_dimuon_goes_on_after_a_reload(trainer: Trainer, tmp_path: Path) -> None:
    for tokens in (WORDS, OTHERS):
        await go(trainer, Pass(ADA, (datum(tokens),), "cross_entropy"))
        await trainer.step(ADA, DIMUON)
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=True)
    await trainer.load(BOB, tmp_path / "saved", optimizer=True)
    steps = []
    for adapter in (ADA, BOB):
        await go(trainer, Pass(adapter, (datum(),), "cross_entropy"))
        steps.append((await trainer.step(adapter, DIMUON))["step"])
    assert steps == [3, 3]
    assert await read(trainer) == await read(trainer, BOB)


@pytest.mark.parametrize("first", ["adamw", "dimuon"])
async def test_a_runs_optimizer_cannot_change(trainer: Trainer, tmp_path: Path, first: str) -> None:
    other = {"adamw": "dimuon", "dimuon": "adamw"}[first]
    await go(trainer, Pass(ADA, (datum(),), "cross_entropy"))
    await trainer.step(ADA, OptimParams(learning_rate=0.01, family=first))
    await trainer.save(ADA, made(tmp_path / "saved"), optimizer=True)
    await trainer.load(BOB, tmp_path / "saved", optimizer=True)
    for adapter in (ADA, BOB):
        before = await read(trainer, adapter)
        await go(trainer, Pass(adapter, (datum(),), "cross_entropy"))
        for family in (other, "sgd"):
            with pytest.raises(BadInput):
                await trainer.step(adapter, OptimParams(learning_rate=0.01, family=family))
        assert await read(trainer, adapter) == before
        assert (await trainer.step(adapter, OptimParams(learning_rate=0.01, family=first)))["grad_norm"] > 0
    await trainer.load(BOB, tmp_path / "saved", optimizer=False)
    assert (await trainer.step(BOB, OptimParams(learning_rate=0.01, family=other)))["step"] == 0
