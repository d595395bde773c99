"""Losses and optimizers at the desk: what is refused before it is journalled, and which optimizer a run has."""

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from workshop import CONTEXT, MODEL, SPEC, STEP, TENANT, VOCAB, Workshop, datum, learn, save, work

from anubhav.errors import AnubhavError, BadInput
from anubhav.store import runs
from anubhav.training.journal import read_operation
from anubhav.training.limits import Limits, check
from anubhav.training.promises import Created, Loaded, Saved, Stepped
from anubhav.types.arrays import Array, floats, ints
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.models import Model
from anubhav.types.operations import Compute, Create, Load, Operation, Step
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

WORDS = (3, 7, 11, 5)
DIMUON_SPEC = LoraSpec(rank=4, optimizer="dimuon")
DIMUON = Step(OptimParams(learning_rate=0.1, family="dimuon"))


def policy(loss: str, config: Mapping[str, float | str] | None = None, **inputs: Array | None) -> Compute:
    """A good pass with some inputs replaced, or left out where None."""
    whole: dict[str, Array | None] = {
        "logprobs": floats([-1.0] * 3),
        "advantages": floats([1.0] * 3),
        "sequence_ratio_mask": floats([0.0, 1.0, 1.0]),
    }
    kept = {name: values for name, values in (whole | inputs).items() if values is not None}
    return Compute(Pass(AdapterId(""), (datum(WORDS, **kept),), loss, config or {}))


def limits() -> Limits:
    return Limits({MODEL: Model(MODEL, Path(), "none", "folder", CONTEXT, VOCAB)})


LOSSES = ("importance_sampling", "ppo", "cispo", "dro", "gspo", "stable_reinforce")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_good_pass_is_taken(loss: str) -> None:
    check(policy(loss), MODEL, SPEC, limits())
    check(policy(loss, {"clip_high_threshold": 3.0, "somebody elses": -1}), MODEL, SPEC, limits())
    low, high = floats([0.1, 0.2, 0.3]), floats([0.1, 2.0, 2.0])
    check(policy(loss, clip_low_threshold=low, clip_high_threshold=high), MODEL, SPEC, limits())
    whole_numbers = {"advantages": ints([1, -1, 0]), "sequence_ratio_mask": ints([0, 1, 1])}
    check(policy(loss, **whole_numbers), MODEL, SPEC, limits())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "change",
    [
        {"logprobs": None},
        {"advantages": None},
        {"logprobs": floats([-1.0, math.nan, -1.0])},
        {"advantages": floats([1.0, math.inf, 1.0])},
        {"advantages": floats([1.0, 1.0])},
        {"logprobs": floats([-1.0] * 6, (3, 2))},
    ],
)
def test_missing_misshapen_and_nan_inputs_are_refused(loss: str, change: dict[str, Array | None]) -> None:
    with pytest.raises(BadInput):
        check(policy(loss, **change), MODEL, SPEC, limits())


BAD_OPTIONS: list[tuple[str, Compute]] = [
    ("a text", policy("ppo", {"clip_low_threshold": "0.8"})),
    ("a text it does not read", policy("dro", {"loss_id": "abc"})),
    ("nan", policy("dro", {"beta": math.nan})),
    ("nan it does not read", policy("ppo", {"beta": math.nan})),
    ("a negative beta", policy("dro", {"beta": -0.1})),
    ("a negative kl_coeff", policy("stable_reinforce", {"kl_coeff": -1.0})),
    ("crossed bounds", policy("cispo", {"clip_low_threshold": 2.0, "clip_high_threshold": 1.0})),
    ("a low bound above the default", policy("ppo", {"clip_low_threshold": 1.5})),
    ("crossed bounds of a token", policy("ppo", clip_low_threshold=floats([0.5, 1.3, 0.5]))),
    ("nan bounds of a token", policy("gspo", clip_high_threshold=floats([0.5, math.nan, 0.5]))),
    ("too few bounds", policy("cispo", clip_high_threshold=floats([2.0]))),
    ("no mask", policy("gspo", sequence_ratio_mask=None)),
    ("an empty mask", policy("gspo", sequence_ratio_mask=floats([0.0] * 3))),
    ("a loss of ours to come", policy("custom", {"loss_id": "abc"})),
]


@pytest.mark.parametrize(("_name", "bad"), BAD_OPTIONS, ids=[name for name, _ in BAD_OPTIONS])
def test_options_that_cannot_work_are_refused(_name: str, bad: Compute) -> None:
    with pytest.raises(BadInput) as refusal:
        check(bad, MODEL, SPEC, limits())
    assert refusal.value.hint


def test_several_targets_have_no_sequence_ratio() -> None:
    shape = (2, 2)
    names = ("logprobs", "advantages", "sequence_ratio_mask")
    pair = Datum((1, 2), {"target_tokens": ints([1] * 4, shape), **{name: floats([1.0] * 4, shape) for name in names}})
    check(work(pair, "cispo"), MODEL, SPEC, limits())
    with pytest.raises(BadInput, match="several targets"):
        check(work(pair, "gspo"), MODEL, SPEC, limits())


async def born(workshop: Workshop, first: Operation) -> RunId:
    session = await workshop.desk.open_session(TENANT, [], {}, "test")
    run = RunId(f"{session}:train:0")
    assert isinstance(await workshop.do(run, 0, first), Created)
    return run


async def refused(workshop: Workshop, run: RunId, seq: int, operation: Operation) -> None:
    with pytest.raises(BadInput) as refusal:
        await workshop.submit(run, seq, operation)
    assert refusal.value.hint
    assert await workshop.database.run(lambda c: runs.find_op(c, run, seq)) is None


async def test_a_run_steps_with_the_optimizer_it_was_created_with(workshop: Workshop) -> None:
    for spec, good, bad in ((SPEC, STEP, DIMUON), (DIMUON_SPEC, DIMUON, STEP)):
        run = await born(workshop, Create(MODEL, spec))
        assert (await workshop.desk.run(TENANT, run)).spec.optimizer == spec.optimizer
        await workshop.do(run, 1, learn(WORDS))
        await refused(workshop, run, 2, bad)
        await refused(workshop, run, 2, Step(OptimParams(family="sgd")))
        assert isinstance(await workshop.do(run, 2, good), Stepped)
    await refused(workshop, run, 3, Step(OptimParams(family="dimuon", learning_rate=-1.0)))
    await refused(workshop, run, 3, Step(OptimParams(family="dimuon", beta1=1.0)))
    no_clip = Step(OptimParams(family="dimuon", grad_clip_norm=-1.0))
    assert isinstance(await workshop.do(run, 3, no_clip), Stepped)


async def test_an_unknown_optimizer_is_refused(workshop: Workshop) -> None:
    run = await born(workshop, Create(MODEL, SPEC))
    saved = await workshop.do(run, 1, save("here"))
    assert isinstance(saved, Saved)
    other = RunId(f"{run.rpartition(':')[0]}:7")
    await refused(workshop, other, 0, Create(MODEL, LoraSpec(rank=4, optimizer="sgd")))
    await refused(workshop, other, 0, Load(saved.path, optimizer=False, family="sgd"))


async def test_a_checkpoint_remembers_its_optimizer(workshop: Workshop) -> None:
    run = await born(workshop, Create(MODEL, DIMUON_SPEC))
    for seq, operation in enumerate((learn(WORDS), DIMUON, save("here")), start=1):
        await workshop.do(run, seq, operation)
    path = f"tinker://{run}/weights/here"
    assert (await workshop.desk.checkpoints.find(TENANT, path)).spec.optimizer == "dimuon"

    restored = await born(workshop, Load(path, optimizer=True))
    assert (await workshop.desk.run(TENANT, restored)).spec.optimizer == "dimuon"
    for seq, one in ((4, run), (1, restored)):
        await workshop.do(one, seq, learn((5, 6, 7)))
    assert await workshop.do(run, 5, DIMUON) == await workshop.do(restored, 2, DIMUON)
    assert await workshop.do(run, 6, learn(WORDS, backward=False)) == await workshop.do(
        restored, 3, learn(WORDS, backward=False)
    )

    fresh = await born(workshop, Load(path, optimizer=False))
    assert (await workshop.desk.run(TENANT, fresh)).spec.optimizer == "adamw"
    await refused(workshop, fresh, 1, Load(path, optimizer=True))
    await refused(workshop, fresh, 1, Load(path, optimizer=False, family="dimuon"))
    assert isinstance(await workshop.do(fresh, 1, Load(path, optimizer=False)), Loaded)
    assert isinstance(await workshop.do(fresh, 2, STEP), Stepped)

    chosen = await born(workshop, Load(path, optimizer=False, family="dimuon"))
    assert isinstance(await workshop.do(chosen, 1, DIMUON), Stepped)
    other = RunId(f"{run.rpartition(':')[0]}:7")
    await refused(workshop, other, 0, Load(path, optimizer=True, family="adamw"))


async def test_dimuon_survives_a_restart(workshop: Workshop) -> None:
    run, twin = [await born(workshop, Create(MODEL, DIMUON_SPEC)) for _ in range(2)]
    for one in (run, twin):
        for seq, operation in enumerate((learn(WORDS), DIMUON, learn((5, 6, 7))), start=1):
            await workshop.do(one, seq, operation)
    before = await workshop.do(run, 4, DIMUON)
    await workshop.restart()
    assert await workshop.do(twin, 4, DIMUON) == before
    looks = [await workshop.do(one, 5, learn(WORDS, backward=False)) for one in (run, twin)]
    assert not isinstance(looks[0], AnubhavError)
    assert looks[0] == looks[1]


def test_journals_of_the_time_before_are_read() -> None:
    spec = {"rank": 4, "seed": 1, "train_attn": True, "train_mlp": True, "train_unembed": True, "alpha": 32.0}
    old = {
        "Create": ({"base_model": MODEL, "spec": spec}, Create(MODEL, LoraSpec(rank=4, seed=1))),
        "Load": ({"path": "p", "optimizer": True}, Load("p", optimizer=True)),
        "Step": ({"params": {"learning_rate": 0.5, "beta1": 0.8}}, Step(OptimParams(learning_rate=0.5, beta1=0.8))),
        "Compute": (
            {"work": {"adapter": "a", "data": [], "loss": "ppo", "config": {"beta": 1.5}, "backward": True}},
            Compute(Pass(AdapterId("a"), (), "ppo", {"beta": 1.5})),
        ),
    }
    for kind, (body, wanted) in old.items():
        assert read_operation(kind, msgspec.msgpack.encode(body)) == wanted
