"""A candidate in the shadow, over the fake backend: what it is shown, what comes of it, and what is left of it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from fake_model import write_model
from school import ask, teach

from anubhav.app import build
from anubhav.backends.fake.sampler import FakeSampler
from anubhav.episodes.recorder import Given
from anubhav.errors import BadInput
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.keyring import Keyring
from anubhav.flows.people import erase, export
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.flows.trying import review, roll_back
from anubhav.settings import Settings
from anubhav.types.experience import Arm, Choice, Episode, Lap, Release
from anubhav.types.ids import new_id
from anubhav.types.models import Model
from anubhav.types.people import Pattern, Policy
from anubhav.types.releases import ReleasePolicy, Trial
from anubhav.types.sampling import Sampled, SampleRequest

ASKED, USUAL, TAUGHT = "How long?", "12 days.", "47 days."
QUESTION = Question("default", ask(ASKED), max_tokens=12, temperature=0.0)
SIX = ReleasePolicy(steps=(50, 100), least_people=4, least_replies=4, shadow=6)


class Server:
    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, AsyncExitStack()
        write_model(folder / "tiny")

    async def start(self) -> tuple[House, Keyring]:
        model = Model("tiny", self._folder / "tiny", "Apache-2.0", "folder", 512, 258)
        settings = Settings(data_dir=self._folder / "data", models_dir=self._folder / "models")
        return await self._stack.enter_async_context(build(settings, {"tiny": model}))

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    yield server
    await server.stop()


@pytest.fixture
async def house(server: Server) -> House:
    return (await server.start())[0]


async def say(house: House, person: str | None, text: str = ASKED, **told: Any) -> tuple[str, str]:
    """The reply's id and what was heard."""
    reply = await begin(house, "ada", replace(QUESTION, user=person, messages=ask(text), **told))
    return reply.id, "".join([piece.text async for piece in reply.pieces])


async def settle(house: House, answer: str, action: Literal["promote", "try"]) -> None:
    taught = await teach(house.desk, house.renderers["tiny"], "anubhav", ASKED, answer)
    lap, path = Lap(new_id("lap"), "default", "done", "done", 0.0), str(taught.path)
    passed = Release(new_id("rel"), "default", path, taught.adapter, action, "ada", "passed", time.time(), lap.id)
    await house.register.settle(passed, lap, "{}", None)


async def tried(house: House, policy: ReleasePolicy = SIX) -> Trial:
    """There is a release, and a candidate passed the gate."""
    await house.trials.set_policy("default", policy)
    await settle(house, USUAL, "promote")
    await settle(house, TAUGHT, "try")
    trial = await house.trials.running("default")
    assert trial
    return trial


async def those(house: House, arm: Arm) -> list[str]:
    """Of 120 people."""
    people = [f"person-{number}" for number in range(120)]
    return [name for name in people if (await house.trials.place("default", "ada", name))[0] == arm]


async def until(condition: Any) -> None:
    for _ in range(1000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def heard_by_some(house: House) -> bool:
    now = await house.trials.running("default")
    return now is not None and now.step == 0


async def shown(house: House, trial: Trial, person: str | None, text: str = ASKED, **told: Any) -> str:
    """Somebody asks, and the candidate has answered it, too; what they heard."""
    before = await house.trials.shadows.count(trial)
    _, heard = await say(house, person, text, **told)

    async def seen() -> bool:
        left = await house.trials.running("default") != trial
        return left or await house.trials.shadows.count(trial) > before

    await until(seen)
    return heard


async def shadows(house: House) -> list[Episode]:
    return [one for one, _ in await house.recorder.recent(200, None) if one.arm == "shadow"]


async def column(house: House, query: str) -> list[str]:
    return [row[0] for row in await house.voices.meter._database.run(lambda c: c.execute(query).fetchall())]


@dataclass
class Candidate:
    """Holds up the candidate, or lets it fail, wherever it speaks."""

    adapter: str
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    problem: Exception | None = None

    def take_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours = FakeSampler.sample

        async def sample(sampler: FakeSampler, request: SampleRequest) -> AsyncGenerator[Sampled]:
            if request.adapter == self.adapter:
                self.asked.set()
                if self.problem:
                    raise self.problem
                await self.free.wait()
            async for event in ours(sampler, request):
                yield event

        monkeypatch.setattr(FakeSampler, "sample", sample)


async def over(house: House) -> Trial:
    async def ended() -> bool:
        return await house.trials.running("default") is None

    await until(ended)
    [trial] = await house.trials.recent("default")
    return trial


async def test_it_answers_unheard_and_is_heard_then(server: Server) -> None:
    house, keyring = await server.start()
    trial = await tried(house)
    assert trial.step == -1
    for number in range(6):
        assert await shown(house, trial, f"person-{number}", session="s-1") == USUAL
    await until(lambda: heard_by_some(house))
    now = await house.trials.running("default")
    assert now
    assert "6 prompts in the shadow: 0 failed against 0" in now.reason
    assert [one.action for one in await house.register.history("default", 2)] == ["try", "promote"]
    said = await shadows(house)
    assert {one.choices[0].text for one in said} == {TAUGHT}
    assert {(one.turn, one.trainable, one.session, one.tenant, one.adapter) for one in said} == {
        ("side", False, None, "ada", trial.adapter)
    }
    pairs = await house.trials.shadows.pairs(trial)
    assert {one.shadow for one in pairs} == {one.id for one in said}
    people = [f"somebody-{number}" for number in range(20)]
    assert TAUGHT in {(await say(house, person))[1] for person in people}
    await house.voices.meter.stop()
    heard = [one for one, _ in await house.recorder.recent(200, None) if one.arm != "shadow"]
    spent = sum(len(one.prompt_tokens) + len(one.choices[0].tokens) for one in heard)
    assert (await keyring.quota("ada"))[1].tokens_today == spent, "nobody pays for what they did not hear"


async def test_what_fails_in_the_shadow_goes_back_by_itself(house: House) -> None:
    trial = await tried(house)
    await house.desk.checkpoints.delete("anubhav", trial.path)
    for number in range(6):
        assert await shown(house, trial, f"person-{number}") == USUAL
    ended = await over(house)
    assert (ended.state, ended.step) == ("rolled back", -1)
    assert "it fails where the release does not: 6 prompts in the shadow: 6 failed against 0" in ended.reason
    pairs = await house.trials.shadows.pairs(trial)
    assert all(one.shadow is None and "NotFound" in one.error for one in pairs)
    last = (await house.register.history("default"))[0]
    assert (last.action, last.who, last.why) == ("discard", "anubhav", ended.reason)
    assert await shadows(house) == []


async def test_what_the_critic_expects_people_to_like_less_goes_back(house: House) -> None:
    prompt = house.renderers["tiny"].render(ask(ASKED))
    given: list[Given] = []
    for number in range(240):
        text = TAUGHT if number % 2 else USUAL
        choice = Choice(house.renderers["tiny"].answer(text), (), text, "stop")
        said = Episode(
            f"ep_told_{number}", "ada", "default", "tiny", None, ask(ASKED), prompt, (choice,), 1.0, time.time(), 0.1
        )
        await house.recorder.record(said)
        given.append(Given(said.id, "thumb", value=int(text == USUAL), rater="eve"))
    await house.trust.mark("ada/eve", "trusted")
    await react(house, "ada", given)
    await house.critic.observe("default")
    trial = await tried(house)
    for number in range(6):
        await shown(house, trial, f"person-{number}")
    ended = await over(house)
    assert (ended.state, ended.step) == ("rolled back", -1)
    assert "the critic expects people to like it less" in ended.reason


async def test_without_a_shadow_it_is_heard_at_once(house: House) -> None:
    trial = await tried(house, ReleasePolicy(steps=(50, 100), shadow=0))
    assert trial.step == 0
    heard = {(await say(house, f"person-{number}"))[1] for number in range(20)}
    assert TAUGHT in heard
    assert await shadows(house) == []
    await house.trials.set_policy("default", ReleasePolicy(steps=(50, 100), shadow=6))
    assert await house.trials.running("default") == trial, "what is heard already goes on"


async def test_what_may_not_be_learned_from_is_shown_to_no_candidate(house: House) -> None:
    trial = await tried(house, ReleasePolicy(steps=(50, 100), shadow=6, holdback=50))
    await house.policies.opt_out("ada", "bob", out=True)
    await say(house, "bob")
    await say(house, "ann", trainable=False)
    await say(house, "ann", kept=False)
    await say(house, "ann", turn="side")
    await say(house, "ann", model="default@stable")
    await say(house, "ann", model="tiny")
    await say(house, (await those(house, "holdback"))[0])
    (free, *_) = await those(house, "stable")
    await shown(house, trial, free)
    (reply,) = await column(house, "SELECT reply FROM shadows")
    assert (await house.recorder.find("ada", reply)).user == free
    await house.policies.keep("ada", Policy(train=False))
    await say(house, free)
    await asyncio.sleep(0.2)
    assert await column(house, "SELECT reply FROM shadows") == [reply]


async def test_whoever_is_erased_leaves_nothing_in_the_shadow(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = await tried(house)
    await shown(house, trial, "ann")
    await shown(house, trial, "bob")
    gone, _ = await erase(house, "ada", "ann", "op")
    assert len(gone.removed) == 2
    assert {one.user for one in await shadows(house)} == {"bob"}
    (pair,) = await house.trials.shadows.pairs(trial)
    assert (await house.recorder.find("ada", pair.reply)).user == "bob"
    candidate = Candidate(trial.adapter)
    candidate.take_over(monkeypatch)
    await say(house, "ann")
    await candidate.asked.wait()
    gone, _ = await erase(house, "ada", "ann", "op")
    assert len(gone.removed) == 1
    candidate.free.set()
    await shown(house, trial, "cem")
    assert {one.user for one in await shadows(house)} == {"bob", "cem"}


async def test_what_its_time_is_over_for_goes_from_the_shadow(house: House) -> None:
    trial = await tried(house)
    await shown(house, trial, "ann")
    await house.policies.keep("ada", Policy(keep_days=1.0))
    assert len(await house.people.expire(time.time() + 86_401)) == 2
    assert await house.trials.shadows.pairs(trial) == []


async def test_consent_that_is_taken_back_meanwhile_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = await tried(house)
    candidate = Candidate(trial.adapter)
    candidate.take_over(monkeypatch)
    await say(house, "ann")
    await candidate.asked.wait()
    await house.policies.opt_out("ada", "ann", out=True)
    candidate.free.set()
    await shown(house, trial, "bob")
    assert {one.user for one in await shadows(house)} == {"bob"}


async def test_it_is_kept_as_redacted_as_what_was_heard(house: House) -> None:
    await house.policies.keep("ada", Policy(patterns=(Pattern("number", "[0-9]{2}"),)))
    trial = await tried(house)
    await shown(house, trial, "ann")
    (one,) = await shadows(house)
    assert one.choices[0].text == "[number] days."
    assert one.redacted


async def test_a_rollback_ends_it_whatever_it_is_doing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = await tried(house)
    candidate = Candidate(trial.adapter)
    candidate.take_over(monkeypatch)

    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.sleep(3600)

    for name in ("create", "run", "step", "save", "load"):
        monkeypatch.setattr(f"anubhav.backends.fake.trainer.FakeTrainer.{name}", hang)
    await say(house, "ann")
    await candidate.asked.wait()
    started = time.monotonic()
    release = await roll_back(house, "default", "ada", "no more")
    assert (await say(house, "bob"))[1] == USUAL
    assert time.monotonic() - started < 5
    assert (release.action, release.path) == ("discard", trial.path)
    candidate.free.set()
    await asyncio.sleep(0.2)
    assert await house.trials.shadows.pairs(trial) == [], "what came too late counts for nothing"
    assert (await over(house)).state == "rolled back"


async def test_it_goes_on_after_a_restart(server: Server) -> None:
    house, _ = await server.start()
    trial = await tried(house)
    for number in range(4):
        await shown(house, trial, f"person-{number}")
    await server.stop()
    house, _ = await server.start()
    assert await house.trials.running("default") == trial
    assert await house.trials.shadows.count(trial) == 4
    for number in range(4, 6):
        await shown(house, trial, f"person-{number}")
    await until(lambda: heard_by_some(house))


@pytest.mark.parametrize("how", ["it is gone", "it breaks off"])
async def test_a_canary_that_fails_goes_back_by_itself(house: House, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    trial = await tried(house, ReleasePolicy(steps=(50, 100), shadow=0))
    if how == "it is gone":
        await house.desk.checkpoints.delete("anubhav", trial.path)
    else:
        Candidate(trial.adapter, problem=RuntimeError("no memory")).take_over(monkeypatch)
    mine, others = await those(house, "canary"), await those(house, "stable")
    for name in others[:40]:
        assert (await say(house, name))[1] == USUAL
    failed = 0
    for name in mine[:25]:
        for _ in range(2):  # clients ask again
            try:
                assert (await say(house, name))[1] == USUAL, "who should hear what is gone hears the release"
            except RuntimeError:
                assert how == "it breaks off"
        failed += 1
        rates = await house.trials.rates(trial)
        assert (rates[0].failed, rates[0].replies, rates[1].failed) == (failed, failed, 0)
        if await review(house, "default") is None:
            break
    ended = await over(house)
    assert (ended.state, failed <= 15) == ("rolled back", True)
    assert f"{failed} of its {failed} replies failed, 0 of the release's 40" in ended.reason
    assert await column(house, "SELECT cause FROM failures") == []
    assert (await say(house, "person-1"))[1] == USUAL


async def test_what_clients_bring_about_is_no_failure(house: House) -> None:
    trial = await tried(house, ReleasePolicy(steps=(50, 100), shadow=0))
    name = (await those(house, "canary"))[0]
    with pytest.raises(BadInput):
        await say(house, name, "x" * 600)
    reply = await begin(house, "ada", replace(QUESTION, user=name))
    await anext(reply.pieces)
    await reply.pieces.aclose()  # hung up
    assert [one.failed for one in await house.trials.rates(trial)] == [0, 0]


async def test_nobody_judges_learns_or_exports_what_nobody_heard(house: House) -> None:
    trial = await tried(house)
    name, _ = await say(house, "ann")
    await until(lambda: house.trials.shadows.count(trial))
    (one,) = await shadows(house)
    with pytest.raises(BadInput, match="Nobody heard"):
        await react(house, "ada", [Given(one.id, "thumb", value=1)])
    with pytest.raises(BadInput, match="Nobody heard"):
        await react(house, "ada", [Given(name, "comparison", value=one.id)])
    await react(house, "ada", [Given(name, "thumb", value=1), Given(name, "correction", text="48 days.")])
    for form in ("sft", "kto", "dpo", "trajectory"):
        _, rows = await export(house, "ada", form, None, "here")
        left = [row async for row in rows]
        assert {episode for row in left for episode in row["episodes"]} == {name}
    assert [said.id for said in await house.recorder.asked("default", 10)] == [name]
    trace = await house.lineage.trace("user:ann")
    told = {edge.to: edge.what for edge in trace.onward}
    assert (told[name], told[one.id]) == ("was given", "was answered unheard")
    back = await house.lineage.trace(one.id)
    assert trial.adapter in {edge.to for edge in back.back}
