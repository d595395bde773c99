"""What a lap learns from, whom it believes, and that it can go on at any batch."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.backends.fake.sampler import FakeSampler
from anubhav.episodes.recorder import STAGE, Given
from anubhav.flows.chat import begin
from anubhav.flows.holding import hold_learning, let_learn
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.lessons import Pace, teach
from anubhav.flows.overview import overview
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.flows.sealing import seal
from anubhav.learning.preference import weighted
from anubhav.learning.presets import Preset, Recipe, Rollouts
from anubhav.releases.laps import WHY
from anubhav.settings import Settings
from anubhav.training.client import RunClient
from anubhav.types.chat import Message
from anubhav.types.experience import Lap, Release
from anubhav.types.ids import new_id
from anubhav.types.models import Model
from anubhav.types.sampling import Sampled, SampleRequest

QUICK = Preset(
    imitation=Recipe(steps=5, learning_rate=0.1, warmup=1),
    preference=Recipe(steps=2, learning_rate=0.1, warmup=1),
    comparisons=Recipe(steps=2, learning_rate=0.1, warmup=1),
    likings=Recipe(steps=2, learning_rate=0.1, warmup=1),
    policy=Recipe(steps=3, learning_rate=0.1, warmup=1),
    anchor_tokens=4,
    settled=0.0,
    kl_budget=50.0,
)
"""Twelve batches where a lap has some of everything."""
BLIND = Rollouts(prompts=3, samples=4, tokens=3, events=0, accuracy=0.0, reliable=0, ece=2.0)
"""Trusts a critic that knows nothing."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    write_model(tmp_path / "tiny")
    model = Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 512, 258)
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    async with build(settings, {"tiny": model}) as (house, _):
        yield house


async def ask(house: House, text: str, n: int = 1, **fields: Any) -> str:
    """The reply's id."""
    question = Question("default", (Message("user", text),), n, 6, 1.0, seed=len(text), **fields)
    reply = await begin(house, "ada", question)
    async for _ in reply.pieces:
        pass
    return reply.id


async def tell(house: House, *given: Given) -> list[str]:
    return [one.id for one in await react(house, "ada", given)]


async def some_of_everything(house: House) -> dict[str, str]:
    """Kind → feedback id."""
    wrong, pair, lone, group = [await ask(house, text, 2) for text in ("Fact?", "Which?", "Alone?", "Together?")]
    tool = await ask(house, "Run it?")
    ids = await tell(
        house,
        Given(wrong, "correction", text="Yes."),
        Given(f"{pair}:0", "comparison", f"{pair}:1"),
        Given(f"{lone}:0", "thumb", value=True),
        Given(f"{group}:0", "thumb", value=True),
        Given(f"{group}:1", "thumb", value=False),
        Given(tool, "outcome", value=1.0, text="tests"),
    )
    return dict(zip(("correction", "comparison", "lone", "up", "down", "outcome"), ids, strict=True))


async def run_lap(house: House, preset: Preset = QUICK) -> Lap:
    return await house.laps.wait(await start_lap(house, "default", "ada", preset))


async def release(house: House) -> None:
    """What a lap of all that is unread makes, whatever a gate would think of it."""
    incumbent = await house.voices.resolve("anubhav", "default@stable")
    sealed, lap = await seal(house, "default", incumbent), house.laps.open("default")
    run = await RunClient.start(house.desk, "anubhav", "tiny", QUICK.spec, tag=lap.id)
    await teach(house, lap, run, incumbent, sealed.plan, QUICK)
    made = await run.save(lap.id, "weights")
    now = time.time()
    done = replace(lap, state="done", phase="done", report={"span": sealed.span}, finished_at=now)
    change = Release(
        new_id("rel"), "default", str(made.path), made.adapter, "promote", "ada", "for the test", now, lap.id
    )
    await house.register.settle(change, done, "{}", (STAGE, sealed.span[1]))
    house.laps.give_up(lap)


async def rows(house: House, feedback: str, lap: str) -> set[str]:
    found = await house.lineage.trace(feedback)
    return {edge.what for edge in found.onward if edge.to == lap}


async def test_each_kind_goes_to_its_algorithm_and_lineage_says_in_which_batch(house: House) -> None:
    ids = await some_of_everything(house)
    done = await run_lap(house)
    report = done.report
    assert (done.state, report.get("failure")) == ("done", None)
    kinds = ("corrections", "pairs", "likings", "rated", "batches")
    assert [report[kind] for kind in kinds] == [1, 2, 1, 3, 12]
    assert await rows(house, ids["correction"], done.id) == {"imitated in batch 0", "rejected in batch 5"}
    assert await rows(house, ids["comparison"], done.id) == {"preferred in batch 5", "rejected in batch 5"}
    assert await rows(house, ids["lone"], done.id) == {"liked in batch 7"}
    for kind in ("up", "down", "outcome"):
        [what] = await rows(house, ids[kind], done.id)
        assert what.startswith("reinforced in batch ")
        assert 9 <= int(what.split()[-1]) < 12
    for figure in ("kl", "kl_general"):
        assert isinstance(report[figure], float)
    assert "before it heard them, 100 are needed" in msgspec.convert(report["rollouts"], dict[str, str])["none"]


async def prepared(house: House) -> tuple[Any, Any, Lap]:
    incumbent = await house.voices.resolve("anubhav", "default@stable")
    lap = house.laps.open("default")
    return incumbent, (await seal(house, "default", incumbent)).plan, lap


async def believes(run: RunClient) -> list[float]:
    result = await run.forward([weighted((1, 2, 3), tuple(range(60, 90)), 0.0)])
    return [float(value) for value in result.logprobs[0].tolist()]


@pytest.mark.parametrize("at", [1, 5, 6, 8, 9, 11])
async def test_a_lap_that_goes_on_at_a_batch_ends_as_one_without_a_rest(house: House, at: int) -> None:
    await some_of_everything(house)
    incumbent, plan, lap = await prepared(house)
    preset = replace(QUICK, rollouts=BLIND, kl_penalty=0.1)
    straight = await RunClient.start(house.desk, "anubhav", "tiny", preset.spec, tag="straight")
    told = list[int]()

    async def count(number: int) -> None:
        told.append(number)

    await teach(house, lap, straight, incumbent, plan, preset, Pace(trained=count))
    assert told == list(range(1, 13))

    async def rest(number: int) -> None:
        if number == at:
            raise InterruptedError

    broken = await RunClient.start(house.desk, "anubhav", "tiny", preset.spec, tag="broken")
    with pytest.raises(InterruptedError):
        await teach(house, lap, broken, incumbent, plan, preset, Pace(trained=rest))
    halfway = await believes(broken)
    await teach(house, lap, broken, incumbent, plan, preset, Pace(start=at))
    expected = await believes(straight)
    assert await believes(broken) == pytest.approx(expected, abs=1e-5)
    assert halfway != pytest.approx(expected, abs=1e-4)


async def test_imitation_ends_when_the_corrections_are_learned_and_going_on_there_changes_nothing(house: House) -> None:
    await some_of_everything(house)
    incumbent, plan, lap = await prepared(house)
    preset = replace(QUICK, imitated=-100.0, imitated_least=3)
    straight = await RunClient.start(house.desk, "anubhav", "tiny", preset.spec, tag="learned")
    told = list[int]()

    async def count(number: int) -> None:
        told.append(number)

    await teach(house, lap, straight, incumbent, plan, preset, Pace(trained=count))
    assert told == [1, 2, *range(5, 13)]

    async def rest(number: int) -> None:
        if number == 5:
            raise InterruptedError

    broken = await RunClient.start(house.desk, "anubhav", "tiny", preset.spec, tag="rested")
    with pytest.raises(InterruptedError):
        await teach(house, lap, broken, incumbent, plan, preset, Pace(trained=rest))
    await teach(house, lap, broken, incumbent, plan, preset, Pace(start=5))
    assert await believes(broken) == pytest.approx(await believes(straight), abs=1e-5)


async def test_pairs_that_are_settled_take_no_batch_and_the_next_part_begins_at_its_number(house: House) -> None:
    await some_of_everything(house)
    incumbent, plan, lap = await prepared(house)
    run = await RunClient.start(house.desk, "anubhav", "tiny", QUICK.spec, tag="settled")
    told = list[int]()

    async def count(number: int) -> None:
        told.append(number)

    await teach(house, lap, run, incumbent, plan, replace(QUICK, settled=1.0), Pace(trained=count))
    assert told == [*range(1, 6), *range(8, 13)]


async def test_groups_that_agree_are_counted_and_never_computed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agreed, split = await ask(house, "Agreed?", 4), await ask(house, "Split?", 4)
    await tell(
        house,
        *[Given(f"{agreed}:{place}", "thumb", value=True) for place in range(4)],
        *[Given(f"{split}:{place}", "thumb", value=place == 0) for place in range(4)],
    )
    incumbent, plan, lap = await prepared(house)
    silent = {one.prompt for one in plan.rated if one.origins[0].episode == agreed}
    seen = set[tuple[int, ...]]()
    compute = RunClient._compute

    async def watch(self: RunClient, data: Any, *rest: Any, **named: Any) -> Any:
        seen.update(datum.tokens for datum in data)
        return await compute(self, data, *rest, **named)

    monkeypatch.setattr(RunClient, "_compute", watch)
    run = await RunClient.start(house.desk, "anubhav", "tiny", QUICK.spec, tag="silent")
    await teach(house, lap, run, incumbent, plan, QUICK)
    told = house.laps.report(lap)
    assert (told["informative"], told["without_signal"]) == (4, 4)
    assert silent and seen
    assert not any(tokens[: len(prompt)] == prompt for prompt in silent for tokens in seen)


async def test_a_quarantined_rater_teaches_nothing_and_the_report_says_so(house: House) -> None:
    good, bad = await ask(house, "Good?"), await ask(house, "Bad?")
    _, poison = await tell(
        house,
        Given(good, "correction", text="Yes.", rater="ann"),
        Given(bad, "correction", text="qqqq", rater="mal"),
    )
    await house.trust.mark("ada/mal", "quarantined")
    done = await run_lap(house)
    assert (done.report["corrections"], done.report["pairs"]) == (1, 1)
    assert done.report["left_out"] == {"quarantined": 1}
    assert await rows(house, poison, done.id) == set()


async def test_held_out_raters_correct_and_never_reward(house: House) -> None:
    episodes = [await ask(house, f"Question {'x' * number}?") for number in range(40)]
    await tell(
        house,
        *(Given(name, "thumb", value=number % 2 == 0, rater=f"r{number}") for number, name in enumerate(episodes)),
    )
    held = {one.name for one in await house.trust.raters("default") if one.held}
    assert held
    incumbent = await house.voices.resolve("anubhav", "default@stable")
    plan = (await seal(house, "default", incumbent)).plan
    assert plan.left["held out"] == len(held)
    taught = {origin.episode for one in (*plan.likings, *plan.rated) for origin in one.origins}
    known = {f"ada/r{number}": name for number, name in enumerate(episodes)}
    assert not taught & {known[name] for name in held}
    assert taught


async def test_side_turns_and_people_who_did_not_consent_are_left_out_by_name(house: House) -> None:
    main = await ask(house, "Main?")
    side, private = await ask(house, "Title?", turn="side"), await ask(house, "Private?", trainable=False)
    await tell(house, *(Given(name, "correction", text="Yes.") for name in (main, side, private)))
    done = await run_lap(house)
    assert done.report["corrections"] == 1
    assert done.report["left_out"] == {"side turns": 1, "no consent": 1}


async def test_answers_of_a_policy_too_many_laps_ago_are_liked_as_a_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anubhav.flows.sealing.STALEST", 0)
    old = await ask(house, "Together?", 2)
    await tell(
        house, *[Given(await ask(house, text), "correction", text="Yes.") for text in ("One?", "Two?", "Three?")]
    )
    await release(house)
    await tell(house, Given(f"{old}:0", "thumb", value=True), Given(f"{old}:1", "thumb", value=False))
    second = await run_lap(house)
    assert (second.report["likings"], second.report["rated"]) == (2, 0)
    staleness = msgspec.convert(second.report["staleness"], dict[str, float])
    assert (staleness["oldest_laps"], staleness["too_old_to_reinforce"]) == (1, 1)
    assert second.report["replayed"] == 3


async def test_fresh_answers_are_scored_and_learned_from_once_the_critic_may_be_asked(house: House) -> None:
    ids = await some_of_everything(house)
    unjudged = await ask(house, "Never judged?")
    done = await run_lap(house, replace(QUICK, rollouts=replace(BLIND, tokens=64)))
    said = msgspec.convert(done.report["rollouts"], dict[str, Any])
    assert (said["prompts"], said["answers"]) == (3, 12)
    assert said["tokens"] <= 12 * 64
    assert {what.rsplit(" ", 1)[0] for what in await rows(house, unjudged, done.id)} <= {"rollout in batch"}
    assert ids


async def rested(house: House, lap: Lap) -> Lap:
    for _ in range(1000):
        found, _evidence = await house.laps.find(lap.id)
        if found.state != "running":
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError


async def test_a_lap_rests_when_its_sampler_and_trainer_disagree(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler whose log-probabilities are off by 0.5: KL 0.149 nats a token."""
    tell_truth = FakeSampler.sample

    async def lie(self: FakeSampler, request: SampleRequest) -> AsyncIterator[Sampled]:
        async for event in tell_truth(self, request):
            yield replace(event, logprobs=tuple(value - 0.5 for value in event.logprobs))

    monkeypatch.setattr(FakeSampler, "sample", lie)
    await some_of_everything(house)
    lap = await start_lap(house, "default", "ada", QUICK)
    found = await rested(house, lap)
    assert (found.state, found.phase) == ("paused", "remembering")
    assert found.report["kl_sampler"] == pytest.approx(math.expm1(0.5) - 0.5, abs=1e-4)
    assert "0.15 nats a token apart" in str(found.report[WHY])
    assert "paused" in [need.what for need in (await overview(house)).needs]
    await hold_learning(house, "ada", "to look")
    await let_learn(house)
    assert (await house.laps.find(lap.id))[0].state == "paused", "nobody said that this one may go on"
    await house.laps.resume(lap.id)
    done = await house.laps.wait(lap)
    assert (done.state, done.report["batches"], WHY in done.report) == ("done", 12, False)


async def test_a_sampler_that_agrees_with_the_trainer_does_not_stop_a_lap(house: House) -> None:
    await some_of_everything(house)
    done = await run_lap(house)
    assert done.state == "done"
    assert done.report["kl_sampler"] == pytest.approx(0.0, abs=1e-6)


async def test_a_lap_of_thumbs_keeps_earlier_repairs(house: House) -> None:
    [fact] = await tell(house, Given(await ask(house, "Fact?"), "correction", text="Yes."))
    await tell(house, Given(await ask(house, "Other?"), "correction", text="No."))
    await release(house)
    name = await ask(house, "Together?", 4)
    await tell(house, *[Given(f"{name}:{place}", "thumb", value=place == 0) for place in range(4)])
    done = await run_lap(house)
    assert (done.report["replayed"], done.report["corrections"], done.report["batches"]) == (2, 0, 3)
    assert "replayed in batch 0" in await rows(house, fact, done.id)


async def test_lone_thumbs_make_the_liked_answer_likelier_and_the_disliked_one_less_likely(house: House) -> None:
    given = [Given(await ask(house, text), "thumb", value=text == "Good?") for text in ("Good?", "So bad?")]
    await tell(house, *given)
    incumbent, plan, lap = await prepared(house)
    assert [one.good for one in plan.likings] == [True, False]
    run = await RunClient.start(house.desk, "anubhav", "tiny", QUICK.spec, tag="likings")
    data = [weighted(one.prompt, one.answer, 0.0) for one in plan.likings]

    async def chances() -> list[float]:
        found = (await run.forward(data)).logprobs
        return [sum(array.tolist()[-len(one.answer) :]) for array, one in zip(found, plan.likings, strict=True)]

    before = await chances()
    await teach(house, lap, run, incumbent, plan, QUICK)
    told = house.laps.report(lap)
    assert isinstance(told["kl"], float)
    assert told["kl"] > 0
    liked, disliked = await chances()
    assert liked > before[0]
    assert disliked < before[1]


@pytest.mark.parametrize("objective", ["grpo", "cispo", "importance_sampling", "stable_reinforce"])
async def test_every_objective_makes_the_liked_answer_likelier(house: House, objective: Any) -> None:
    name = await ask(house, "Together?", 4)
    given = [Given(f"{name}:{place}", "thumb", value=place == 0) for place in range(4)]
    await tell(house, *given)
    incumbent, plan, lap = await prepared(house)
    liked = plan.rated[0]
    assert len({one.answer for one in plan.rated}) > 1
    run = await RunClient.start(house.desk, "anubhav", "tiny", QUICK.spec, tag="objective")
    datum = [weighted(liked.prompt, liked.answer, 0.0)]
    before = sum((await run.forward(datum)).logprobs[0].tolist()[-len(liked.answer) :])
    await teach(house, lap, run, incumbent, plan, replace(QUICK, objective=objective, kl_penalty=0.01))
    assert sum((await run.forward(datum)).logprobs[0].tolist()[-len(liked.answer) :]) > before


async def test_reinforcing_ends_when_the_candidate_is_too_far_from_the_incumbent(house: House) -> None:
    name = await ask(house, "Together?", 4)
    await tell(house, *[Given(f"{name}:{place}", "thumb", value=place == 0) for place in range(4)])
    incumbent, plan, lap = await prepared(house)
    run = await RunClient.start(house.desk, "anubhav", "tiny", QUICK.spec, tag="budget")
    await teach(house, lap, run, incumbent, plan, replace(QUICK, kl_budget=1e-9))
    told = house.laps.report(lap)
    assert (told["kl_spent"], told["batches"]) == (True, 2)
