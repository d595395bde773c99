"""Any order, any repeats, any crashes: each operation once, in its order, with the results of a quiet run."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workshop import HOPELESS, STEP, TENANT, Workshop, learn, save

from anubhav.errors import AnubhavError
from anubhav.training.promises import Outcome, Saved
from anubhav.training.snapshots import Pace
from anubhav.types.ids import RunId
from anubhav.types.operations import Load, Operation

PACE = Pace(steps=2, seconds=1e9)
KINDS = {
    "learn": learn((1, 2, 3)),
    "other": learn((3, 2, 1), (5, 6)),
    "forward": learn((1, 2, 3), backward=False),
    "hopeless": HOPELESS,
    "step": STEP,
    "save": save("latest", overwrite=True),
}


@dataclass(frozen=True)
class Story:
    runs: tuple[tuple[str, ...], ...]
    """The operations of each run, numbered from 1."""
    schedule: tuple[tuple[int, int], ...]
    """(run, seq) in the order they are handed in, each at least once."""
    crashes: tuple[int, ...]
    """Places of the schedule before which everything in memory is lost."""
    rest: int
    """Turns of the event loop after each operation handed in."""


@st.composite
def stories(draw: st.DrawFn) -> Story:
    kinds = st.sampled_from([*KINDS, "load", "step", "learn"])
    runs = tuple(tuple(one) for one in draw(st.lists(st.lists(kinds, min_size=1, max_size=9), min_size=1, max_size=3)))
    every = [(run, seq) for run, kinds_ in enumerate(runs) for seq in range(1, len(kinds_) + 1)]
    repeats = draw(st.lists(st.sampled_from(every), max_size=6))
    schedule = tuple(draw(st.permutations(every + repeats)))
    crashes = draw(st.lists(st.integers(0, len(schedule)), max_size=2))
    return Story(runs, schedule, tuple(crashes), draw(st.sampled_from([0, 1, 5, 40])))


@given(stories())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_order_repeats_and_crashes_change_nothing(story: Story) -> None:
    quiet = asyncio.run(tell(story, disturbed=False))
    assert asyncio.run(tell(story, disturbed=True)) == quiet


async def tell(story: Story, *, disturbed: bool) -> list[object]:
    """Every outcome and the final weights of every run."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder), pace=PACE)
        seed = await seeded(workshop)
        names = [await workshop.new_run() for _ in story.runs]
        promises: dict[tuple[int, int], str] = {}
        schedule = story.schedule if disturbed else sorted(set(story.schedule))
        for place, (run, seq) in enumerate(schedule):
            if disturbed and place in story.crashes:
                await workshop.restart()
            promise = await workshop.submit(names[run], seq, operation(story.runs[run][seq - 1], seed))
            assert promises.setdefault((run, seq), promise) == promise
            for _ in range(story.rest if disturbed else 0):
                await asyncio.sleep(0)
        if disturbed and len(schedule) in story.crashes:
            await workshop.restart()
        outcomes = [simple(await workshop.wait(promises[key])) for key in sorted(promises)]
        finals = [await final(workshop, name, len(kinds)) for name, kinds in zip(names, story.runs, strict=True)]
        await workshop.close()
    return [*outcomes, *finals]


async def seeded(workshop: Workshop) -> str:
    """The path of a checkpoint with something in it."""
    run = await workshop.new_run()
    await workshop.do(run, 1, learn((9, 8, 7)))
    await workshop.do(run, 2, STEP)
    saved = await workshop.do(run, 3, save("seed"))
    assert isinstance(saved, Saved)
    return saved.path


def operation(kind: str, seed: str) -> Operation:
    return Load(seed, optimizer=True) if kind == "load" else KINDS[kind]


async def final(workshop: Workshop, run: RunId, length: int) -> str:
    saved = await workshop.do(run, length + 1, save("final"))
    assert isinstance(saved, Saved)
    return (await workshop.desk.checkpoints.find(TENANT, saved.path)).adapter


def simple(outcome: Outcome) -> object:
    """Comparable between two tellings, whose runs have other ids."""
    if isinstance(outcome, AnubhavError):
        return type(outcome).__name__, outcome.message
    return outcome if not hasattr(outcome, "path") else type(outcome).__name__
