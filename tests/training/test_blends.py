"""Weighted sums of checkpoints: made once, found again by their promise, refused when they do not go together."""

from dataclasses import replace

import pytest
from workshop import SPEC, STEP, TENANT, Workshop, learn, save

from anubhav.errors import BadInput, NotFound
from anubhav.training.blends import Blend
from anubhav.training.promises import Blended, Saved
from anubhav.types.ids import RunId
from anubhav.types.operations import Load
from anubhav.types.training import PassResult


async def trained(workshop: Workshop, tokens: tuple[int, ...]) -> str:
    run = await workshop.new_run()
    await workshop.do(run, 1, learn(tokens))
    await workshop.do(run, 2, STEP)
    saved = await workshop.do(run, 3, save("s", "sampler_weights"))
    assert isinstance(saved, Saved)
    return saved.path


async def losses(workshop: Workshop, path: str) -> tuple[float, float]:
    """Of the two sequences."""
    run = RunId(f"{await workshop.desk.open_session(TENANT, [], {}, 'test')}:train:0")
    await workshop.do(run, 0, Load(path, optimizer=False))
    found = [await workshop.do(run, seq, learn(one, backward=False)) for seq, one in ((1, (1, 2, 3)), (2, (7, 8, 9)))]
    first, second = (one.metrics["loss:sum"] for one in found if isinstance(one, PassResult))
    return first, second


async def test_a_blend_is_between_its_sources_and_lasts(workshop: Workshop) -> None:
    one, two = await trained(workshop, (1, 2, 3)), await trained(workshop, (7, 8, 9))
    wanted = Blend(TENANT, (one, two), (0.5, 0.5), "half", key="k")
    promise = await workshop.desk.blends.make(wanted)
    assert await workshop.desk.blends.make(wanted) == promise
    await workshop.restart()
    outcome = await workshop.wait(promise)
    assert isinstance(outcome, Blended)
    assert (outcome.sources, outcome.shares) == ((one, two), (0.5, 0.5))
    found = await workshop.desk.checkpoints.find(TENANT, outcome.path)
    assert found.spec == replace(SPEC, rank=2 * SPEC.rank, seed=0)
    of_one, of_half, of_two = [await losses(workshop, path) for path in (one, outcome.path, two)]
    assert of_one[0] < of_half[0] < of_two[0]
    assert of_one[1] > of_half[1] > of_two[1]
    whole = await workshop.wait(await workshop.desk.blends.make(replace(wanted, shares=(1.0, 0.0), key=None)))
    assert isinstance(whole, Blended)
    assert await losses(workshop, whole.path) == pytest.approx(of_one)


async def test_what_does_not_go_together_makes_nothing(workshop: Workshop) -> None:
    one = await trained(workshop, (1, 2, 3))
    before = await workshop.desk.checkpoints.list(TENANT, None)
    folders = sorted(entry.name for entry in (workshop.folder / "checkpoints").iterdir())
    for wanted, message in [
        (Blend(TENANT, (one, one), (1.0,), "x"), "1 coefficients"),
        (Blend(TENANT, (one,), (float("nan"),), "x"), "coefficient"),
        (Blend(TENANT, (one,), (1e9,), "x"), "coefficient"),
        (Blend(TENANT, (one,), (1.0,), "tinker://a/b/c"), "name"),
        (Blend(TENANT, (one,) * 65, (0.1,) * 65, "x"), "rank 260"),
        (Blend(TENANT, ("tinker://no",), (0.1,), "x"), "path"),
    ]:
        with pytest.raises(BadInput, match=message):
            await workshop.desk.blends.make(wanted)
    with pytest.raises(NotFound):
        await workshop.desk.blends.make(Blend("bob", (one,), (1.0,), "x"))
    assert await workshop.desk.checkpoints.list(TENANT, None) == before
    assert sorted(entry.name for entry in (workshop.folder / "checkpoints").iterdir()) == folders
