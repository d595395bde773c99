"""A candidate on trial, over the fake backend: who hears it, what takes it back or on, and what learning brought."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.episodes.recorder import Given
from anubhav.errors import BadInput, NotFound
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.flows.reviewing import keep_reviewing
from anubhav.flows.trying import measure_lift, roll_back
from anubhav.learning.presets import Preset, Recipe
from anubhav.releases.trials import Trials
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.experience import Arm
from anubhav.types.models import Model
from anubhav.types.releases import ReleasePolicy

QUICK = Preset(imitation=Recipe(steps=10, learning_rate=0.17, warmup=1), anchor_tokens=8)
ASKED, TAUGHT = "How long?", "47 days."
HALF = ReleasePolicy(steps=(50, 100), least_people=4, least_replies=4, shadow=0)


class Server:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        write_model(folder / "tiny")

    async def start(self) -> House:
        model = Model("tiny", self._folder / "tiny", "Apache-2.0", "folder", 512, 258)
        settings = Settings(data_dir=self._folder / "data", models_dir=self._folder / "models")
        house, _ = await self._stack.enter_async_context(build(settings, {"tiny": model}))
        return house

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    yield server
    await server.stop()


@pytest.fixture
async def house(server: Server) -> House:
    return await server.start()


async def ask(house: House, person: str | None, model: str = "default") -> tuple[str, str]:
    """The reply's id and text."""
    reply = await begin(house, "ada", Question(model, (Message("user", ASKED),), 1, 12, 0.0, user=person))
    return reply.id, "".join([piece.text async for piece in reply.pieces])


async def arm_of(house: House, person: str) -> Arm:
    return (await house.trials.place("default", "ada", person))[0]


async def teach(house: House, text: str = TAUGHT) -> None:
    name, _ = await ask(house, None)
    await react(house, "ada", [Given(name, "correction", text=text)])
    lap = await house.laps.wait(await start_lap(house, "default", "ada", QUICK))
    assert lap.state == "done", lap.report
    assert lap.report["verdict"]["outcome"] == "pass", lap.report["verdict"]  # type: ignore[index]


async def people(house: House, arm: Arm, count: int) -> list[str]:
    found = [name for number in range(400) if await arm_of(house, name := f"person-{number}") == arm]
    return found[:count]


async def judge(house: House, person: str, *, up: bool) -> None:
    name, _ = await ask(house, person)
    await react(house, "ada", [Given(name, "thumb", value=int(up), rater=person)])


async def test_without_steps_a_pass_is_heard_by_everybody(house: House) -> None:
    await teach(house)
    assert (await ask(house, "somebody"))[1] == TAUGHT
    assert await house.trials.running("default") is None


async def test_a_candidate_is_heard_by_its_share_alone(house: House, server: Server) -> None:
    await house.trials.set_policy("default", HALF)
    await teach(house)
    wanted: tuple[tuple[Arm, bool], ...] = (("canary", True), ("stable", False))
    for arm, heard in wanted:
        for person in await people(house, arm, 3):
            assert ((await ask(house, person))[1] == TAUGHT) is heard
    assert (await ask(house, None))[1] != TAUGHT
    assert (await ask(house, None, "default@candidate"))[1] == TAUGHT
    assert await house.register.current("default") is None
    arms = {episode.arm for episode, _ in await house.recorder.recent(20, None)}
    assert arms == {"stable", "canary", "asked"}
    chosen = await people(house, "canary", 5)
    await server.stop()
    assert await people(await Server.start(server), "canary", 5) == chosen


async def test_what_people_like_less_goes_back_by_itself(house: House) -> None:
    await house.trials.set_policy("default", HALF)
    await teach(house)
    for mine, other in zip(await people(house, "canary", 60), await people(house, "stable", 60), strict=True):
        await judge(house, mine, up=False)
        await judge(house, other, up=True)
        if await house.trials.running("default") is None:
            break
    [trial] = await house.trials.recent("default")
    assert trial.state == "rolled back"
    assert "people like it less" in trial.reason
    assert await house.register.current("default") is None
    assert (await ask(house, "person-1"))[1] != TAUGHT
    with pytest.raises(NotFound, match="Nothing is tried out"):
        await ask(house, None, "default@candidate")


async def test_what_people_like_is_promoted(house: House) -> None:
    await house.trials.set_policy("default", HALF)
    await teach(house)
    for mine, other in zip(await people(house, "canary", 4), await people(house, "stable", 4), strict=True):
        assert await house.trials.running("default")
        await judge(house, other, up=True)
        await judge(house, mine, up=True)
    [trial] = await house.trials.recent("default")
    assert trial.state == "promoted"
    assert (await ask(house, None))[1] == TAUGHT
    live = await house.register.current("default")
    assert live
    assert (live.action, live.lap) == ("promote", trial.lap)


async def test_a_newer_candidate_replaces_the_one_on_trial(house: House) -> None:
    await house.trials.set_policy("default", HALF)
    await teach(house)
    await teach(house, "12 days.")
    newer, older = await house.trials.recent("default")
    assert (newer.state, older.state) == ("running", "replaced")


async def test_rolling_back_needs_no_trainer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await teach(house)
    await teach(house, "12 days.")

    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.sleep(3600)

    for name in ("create", "run", "step", "save", "load"):
        monkeypatch.setattr(f"anubhav.backends.fake.trainer.FakeTrainer.{name}", hang)
    started = time.monotonic()
    await roll_back(house, "default", "ada", "wrong")
    assert (await ask(house, "somebody"))[1] == TAUGHT
    assert time.monotonic() - started < 5


async def test_any_kept_release_can_be_gone_back_to(house: House) -> None:
    await teach(house)
    await teach(house, "12 days.")
    first, _ = await house.register.standing("default")
    await roll_back(house, "default", "ada", "the first was best", to=first.id)
    assert (await ask(house, None))[1] == TAUGHT
    assert [one.id for one in await house.register.standing("default")] == [first.id]
    with pytest.raises(BadInput, match="no earlier release"):
        await roll_back(house, "default", "ada", "again", to=first.id)


async def test_only_the_newest_releases_keep_their_checkpoints(house: House) -> None:
    await teach(house)
    await teach(house, "12 days.")
    first, second = await house.register.standing("default")
    assert await house.register.dispensable("default") == []
    assert await house.register.dispensable("default", kept=1) == [first.path]
    await house.desk.checkpoints.delete("anubhav", first.path or "")
    assert await house.register.dispensable("default", kept=1) == []
    with pytest.raises(BadInput, match="is gone"):
        await roll_back(house, "default", "ada", "too far", to=first.id)
    assert await house.register.current("default") == second


async def test_lift_is_told_with_its_people_or_why_it_is_not(house: House) -> None:
    assert "nobody is held back" in (await measure_lift(house, "default")).why
    await teach(house)
    await house.trials.set_policy("default", ReleasePolicy(holdback=20))
    assert "fewer than 10" in (await measure_lift(house, "default")).why
    held, others = await people(house, "holdback", 12), await people(house, "stable", 12)
    for person in held:
        assert (await ask(house, person))[1] != TAUGHT
        await judge(house, person, up=person == held[0])
    for person in others:
        await judge(house, person, up=person != others[0])
    found = await measure_lift(house, "default")
    assert found.overall
    assert found.overall.people == (12, 12)
    assert found.overall.difference == pytest.approx(2 * (11 - 1) / 12)
    assert found.overall.low > 0
    assert [one for _, one in found.days] == [found.overall]


@pytest.mark.parametrize(
    "policy", [ReleasePolicy((25, 5)), ReleasePolicy((0, 100)), ReleasePolicy(holdback=60), ReleasePolicy(shadow=-1)]
)
async def test_a_policy_that_makes_no_sense_is_refused(house: House, policy: ReleasePolicy) -> None:
    with pytest.raises(BadInput):
        await house.trials.set_policy("default", policy)
    assert await house.trials.policy("default") == ReleasePolicy()


async def test_a_direct_release_ends_the_trial_and_bad_requests_do_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.trials.set_policy("default", HALF)
    await teach(house)
    with pytest.raises(BadInput):
        await roll_back(house, "default", "ada", "a typing error", to="rel_none")
    trial = await house.trials.running("default")
    assert trial
    await house.trials.set_policy("default", ReleasePolicy())
    await teach(house, "12 days.")
    assert [one.state for one in await house.trials.recent("default")] == ["replaced"]
    assert (await ask(house, "somebody"))[1] == "12 days."
    assert await house.register.dispensable("default") == []
    monkeypatch.setattr("anubhav.releases.register._LINGER", -1.0)
    assert await house.register.dispensable("default") == [trial.path]


async def test_a_slow_candidate_is_taken_back_by_the_clock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.trials.set_policy("default", HALF)
    await teach(house)
    name, _ = await ask(house, None)

    async def fail(*_: Any) -> None:
        raise RuntimeError("a disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("anubhav.flows.reviewing.review", fail)
        [receipt] = await react(house, "ada", [Given(name, "thumb", value=1)])
        assert receipt.status == "accepted"

    async def waits(_: Trials, __: str, arm: Arm, *___: Any) -> list[float]:
        return [5.0 if arm == "canary" else 0.5] * 20

    # Set on the class: the parts of a house are fixed.
    monkeypatch.setattr(Trials, "waits", waits)
    reviewing = asyncio.create_task(keep_reviewing(house, seconds=0.05))
    for _ in range(600):
        if await house.trials.running("default") is None:
            break
        await asyncio.sleep(0.05)
    reviewing.cancel()
    await asyncio.gather(reviewing, return_exceptions=True)
    [trial] = await house.trials.recent("default")
    assert trial.state == "rolled back"
    assert "first word takes 5.0 s" in trial.reason
