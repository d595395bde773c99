"""The critic over a store and the fake reader: what it hears, once each, and again after a restart."""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model

from anubhav.backends.fake.reading import FakeReader
from anubhav.errors import NotFound, Unavailable
from anubhav.rendering.renderer import Renderer
from anubhav.rewards.critic import STAGE, Critic
from anubhav.rewards.lookout import Lookout
from anubhav.rewards.trust import Trust
from anubhav.store import beliefs, experience
from anubhav.store.database import Database
from anubhav.types.chat import Message
from anubhav.types.experience import Choice, Episode, Feedback

GOOD, BAD = ("Yes, please.", "Sure, thank you.", "Of course, please wait."), ("go away", "dunno", "no idea what")


class Shop:
    """A store with replies and judgements, and critics that hear them."""

    def __init__(self, folder: Path) -> None:
        write_model(folder / "tiny")
        self.renderer = Renderer(folder / "tiny")
        self.file = folder / "rows.db"
        self.database = Database(self.file)
        self.critic = self.open()
        self.number = 0

    def open(self) -> Critic:
        return Critic(self.database, {"tiny": FakeReader(258)}, {"tiny": self.renderer})

    def reopen(self) -> Critic:
        """As after a crash: nothing is written on the way out."""
        self.database.close()
        self.database = Database(self.file)
        return self.open()

    def item(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.renderer.render([Message("user", "hello")]), self.renderer.answer(text)

    async def say(self, text: str, user: str | None = None, base: str = "tiny") -> Episode:
        self.number += 1
        prompt, answer = self.item(text)
        choice = Choice(answer, (0.0,) * len(answer), text, "stop")
        episode = Episode(
            f"ep_{self.number}", "t", "default", base, None, (Message("user", "hello"),), prompt, (choice,), 1.0,
            time.time(), 0.1, user=user,
        )  # fmt: skip
        await self.database.run(lambda c: experience.add_episode(c, episode))
        return episode

    async def judge(self, episode: Episode, kind: str = "thumb", **fields: object) -> Feedback:
        self.number += 1
        given = Feedback(f"fb_{self.number}", "t", episode.id, 0, kind, float(self.number), **fields)  # type: ignore[arg-type]
        await self.database.run(lambda c: experience.add_feedback(c, given, "default", ""))
        return given

    async def thumbs(self, count: int, raters: int = 1) -> None:
        chance = random.Random(count)
        for number in range(count):
            up = chance.random() < 0.5
            episode = await self.say(chance.choice(GOOD if up else BAD))
            await self.judge(episode, value=float(up), rater=f"r{number % raters}")

    async def means(self, critic: Critic, texts: Iterable[str] = (*GOOD, *BAD)) -> list[float]:
        found = await critic.score("default", "tiny", [self.item(text) for text in texts], watched=False)
        return [one.mean for one in found]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    await shop.critic.stop()
    shop.database.close()


async def test_what_people_like_scores_high(shop: Shop) -> None:
    before = await shop.critic.score("default", "tiny", [shop.item(GOOD[0])])
    assert before[0].mean == pytest.approx(0.0, abs=1e-9)
    await shop.thumbs(60)
    after = await shop.means(shop.critic)
    assert min(after[:3]) > 0.15 > -0.15 > max(after[3:])
    found = await shop.critic.score("default", "tiny", [shop.item(GOOD[0])])
    assert found[0].deviation < before[0].deviation


async def test_corrections_and_comparisons_put_one_answer_over_another(shop: Shop) -> None:
    for number in range(12):
        said = await shop.say(BAD[number % 3])
        await shop.judge(said, "correction", text=GOOD[number % 3], rater="me")
        other = await shop.say(GOOD[number % 3])
        await shop.judge(other, "comparison", against=f"{said.id}:0", rater="me")
    after = await shop.means(shop.critic)
    assert min(after[:3]) > max(after[3:]) + 0.2


async def test_each_judgement_counts_once_through_crashes(shop: Shop) -> None:
    await shop.thumbs(37)
    assert await shop.critic.observe("default") == 37
    assert await shop.critic.observe("default") == 0
    straight = await shop.means(shop.critic)
    # Written together: as far as the cursor got, the belief got.
    position = await shop.database.run(lambda c: experience.position(c, STAGE, "default"))
    again = shop.reopen()
    left = await again.observe("default")
    assert left == 37 - position_count(shop, position)
    assert await shop.means(again) == straight
    await shop.thumbs(20)
    await again.observe("default")
    third = shop.reopen()
    assert await shop.means(third) == await shop.means(again_like(shop, again))


def position_count(shop: Shop, position: int) -> int:
    return min(position, 37)


def again_like(shop: Shop, critic: Critic) -> Critic:
    critic._database = shop.database
    critic.gallery._database = shop.database
    return critic


async def test_a_rebuild_by_replay_gives_the_same_numbers(shop: Shop) -> None:
    await shop.thumbs(50, raters=6)
    straight = await shop.means(shop.critic)
    assert await shop.critic.rebuild("default") == 50
    assert await shop.means(shop.critic) == straight


async def test_readings_are_kept_so_that_a_judgement_waits_for_no_forward_pass(shop: Shop) -> None:
    episode = await shop.say(GOOD[0])
    shop.critic.remember(episode)
    worker = shop.critic.gallery._worker
    assert worker
    await worker
    kept = await shop.database.run(lambda c: beliefs.readings(c, "tiny", [f"{episode.id}:0"]))
    assert len(kept) == 1
    shop.critic.gallery._readers = {"tiny": None}  # type: ignore[dict-item]
    await shop.judge(episode, value=1.0)
    assert await shop.critic.observe("default") == 1


async def test_erasing_a_rater_and_an_episode_takes_their_votes_back(shop: Shop) -> None:
    await shop.thumbs(30, raters=2)
    liar = [await shop.say(GOOD[number % 3], user="eve") for number in range(15)]
    for episode in liar:
        await shop.judge(episode, value=0.0)
    spoiled = await shop.means(shop.critic)
    await shop.critic.forget(raters=["t/eve"], episodes=[episode.id for episode in liar])
    healed = await shop.means(shop.critic)
    assert sum(healed[:3]) > sum(spoiled[:3]) + 0.3
    mind = await shop.critic.mind("default")
    assert mind and "t/eve" not in mind.ledger.raters
    rows = await shop.database.run(lambda c: beliefs.find(c, ("default", "tiny")))
    assert rows and not any(b"eve" in body for body in (*rows.kept, *rows.raters, *(body for _, body in rows.ballots)))
    gone = [f"{episode.id}:0" for episode in liar]
    assert await shop.database.run(lambda c: beliefs.readings(c, "tiny", gone)) == {}


async def test_held_out_raters_teach_the_audit_and_nobody_else(shop: Shop) -> None:
    await shop.thumbs(240, raters=40)
    await shop.critic.observe("default")
    mind = await shop.critic.mind("default")
    assert mind
    held = {name for name, one in mind.ledger.raters.items() if one.held}
    assert held and mind.audited > 0
    assert all(mind.ledger.raters[name].mass == 0 for name in held)
    assert {one.rater for one in mind.kept.values() if one.held} <= held
    items = [shop.item(text) for text in (*GOOD, *BAD)]
    audit = [one.mean for one in await shop.critic.audit.score("default", "tiny", items)]
    assert await shop.critic.audit.ready("default")
    assert sum(audit[:3]) > sum(audit[3:])
    feedback = await shop.database.run(lambda c: experience.feedback_after(c, "default", 0, 500))
    weights = await Trust(shop.database, shop.critic).weigh("default", feedback)
    assert all((weights[one.id] == 0) == (f"t/{one.rater}" in held) for one in feedback)


async def test_one_persons_feedback_weighs_in_full_and_a_changed_mind_once(shop: Shop) -> None:
    episode = await shop.say(GOOD[0])
    first, last = await shop.judge(episode, value=0.0), await shop.judge(episode, value=1.0)
    judge = await shop.judge(episode, value=1.0, rater="judge:x", source="judge")
    weights = await Trust(shop.database, shop.critic).weigh("default", [first, last, judge])
    assert (weights[first.id], weights[last.id]) == (0.0, 1.0)
    assert 0 < weights[judge.id] <= 0.3


async def test_ten_thousand_votes_of_one_rater_weigh_no_more_than_the_cap(shop: Shop) -> None:
    """T21, in an update."""
    episodes = [await shop.say(GOOD[number % 3]) for number in range(20)]
    honest = [await shop.judge(one, value=1.0, rater=f"r{number}") for number, one in enumerate(episodes)]
    await shop.critic.observe("default")
    flood = [Feedback(f"fl_{n}", "t", f"ep_x{n}", 0, "thumb", 1.0, 0.0, rater="flood") for n in range(10_000)]
    weights = await Trust(shop.database, shop.critic).weigh("default", [*honest, *flood])
    assert sum(weights[one.id] for one in flood) <= 0.1 * sum(weights.values()) * 1.0001


async def test_an_operators_quarantine_takes_effect_at_once_and_can_be_lifted(shop: Shop) -> None:
    await shop.thumbs(20)
    trust = Trust(shop.database, shop.critic)
    for number in range(20):
        await shop.judge(await shop.say(BAD[number % 3]), value=1.0, rater="eve")
    spoiled = await shop.means(shop.critic)
    await trust.mark("t/eve", "quarantined")
    healed = await shop.means(shop.critic)
    assert sum(healed[3:]) < sum(spoiled[3:]) - 0.3
    marked = {one.name: one.mark for one in await trust.raters("default")}
    assert marked == {"t/r0": None, "t/eve": "quarantined"}
    await trust.mark("t/eve", None)
    assert all(one.mark is None for one in await trust.raters("default"))


async def test_what_cannot_be_read_is_passed_over(shop: Shop) -> None:
    elsewhere = await shop.say(GOOD[0], base="another")
    await shop.judge(elsewhere, value=1.0)
    await shop.judge(await shop.say(GOOD[1]), "comparison", against="ep_gone:0")
    await shop.judge(await shop.say(GOOD[2]), value=1.0)
    assert await shop.critic.observe("default") == 3
    mind = await shop.critic.mind("default")
    assert mind and mind.steps == 1
    with pytest.raises(NotFound):
        await shop.critic.score("default", "another", [shop.item("x")])


async def test_the_lookout_reports(shop: Shop) -> None:
    lookout = Lookout(shop.critic)
    assert (await lookout.report("default")).steps == 0
    await shop.thumbs(40)
    report = await lookout.report("default")
    assert (report.steps, report.alarms) == (40, [])
    assert report.figures["accuracy"] > 0.7


class Slow:
    """A reader that is busy with something else."""

    def __init__(self) -> None:
        self._inner, self.free = FakeReader(258), asyncio.Event()

    async def read(self, items: Any, *, tenant: str = "") -> Any:
        await self.free.wait()
        return await self._inner.read(items, tenant=tenant)


async def test_a_glance_waits_for_no_backlog_and_says_how_long_it_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anubhav.rewards.critic._GLANCE_SECONDS", 0.05)
    await shop.thumbs(10)
    await shop.database.run(lambda c: beliefs.drop_readings(c, [f"ep_{number}" for number in range(20)]))
    slow = Slow()
    critic = Critic(shop.database, {"tiny": slow}, {"tiny": shop.renderer})
    report, raters = await asyncio.wait_for(Lookout(critic).glance("default"), 2)
    assert (report.steps, report.behind, raters) == (0, 10, [])
    slow.free.set()
    await critic.observe("default")
    report, raters = await Lookout(critic).glance("default")
    assert (report.steps, report.behind, len(raters)) == (10, 0, 1)
    await critic.stop()


class Counting:
    """A reader that knows how much it was given at once."""

    def __init__(self) -> None:
        self._inner, self.calls = FakeReader(258), list[int]()

    async def read(self, items: Any, *, tenant: str = "") -> Any:
        self.calls.append(len(items))
        return await self._inner.read(items, tenant=tenant)


async def test_a_correction_is_read_with_what_it_corrects(shop: Shop) -> None:
    episode = await shop.say("no")
    await shop.judge(episode, "correction", text="yes")
    await shop.judge(episode, "correction", text="perhaps")
    reader = Counting()
    critic = Critic(shop.database, {"tiny": reader}, {"tiny": shop.renderer})
    assert await critic.observe("default") == 2
    assert reader.calls == [2, 1]
    await critic.stop()


class Flaky:
    """A reader that fails now and then, as an engine that is stopping does."""

    def __init__(self) -> None:
        self._inner, self.calls = FakeReader(258), 0

    async def read(self, items: Any, *, tenant: str = "") -> Any:
        self.calls += 1
        if self.calls % 7 == 5:
            raise Unavailable("The engine is stopping")
        return await self._inner.read(items, tenant=tenant)


async def test_a_reader_that_fails_loses_and_repeats_nothing(shop: Shop) -> None:
    await shop.thumbs(40)
    straight = await shop.means(shop.critic)
    await shop.database.run(lambda c: (beliefs.drop(c, "default"), experience.advance(c, STAGE, "default", 0)))
    await shop.database.run(lambda c: beliefs.drop_readings(c, [f"ep_{number}" for number in range(200)]))
    flaky = Critic(shop.database, {"tiny": Flaky()}, {"tiny": shop.renderer})
    failures = 0
    while True:
        try:
            await flaky.observe("default")
            break
        except Unavailable:
            failures += 1
    assert failures >= 4
    flaky.gallery._readers = {"tiny": FakeReader(258)}
    assert await shop.means(flaky) == straight


async def test_a_disk_that_fails_loses_and_repeats_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.thumbs(40)
    straight = await shop.means(shop.critic)
    await shop.database.run(lambda c: (beliefs.drop(c, "default"), experience.advance(c, STAGE, "default", 0)))
    critic, put, calls = shop.open(), beliefs.put_raters, [0]

    def full(*given: Any) -> None:
        calls[0] += 1
        if calls[0] <= 2:
            raise sqlite3.OperationalError("database or disk is full")
        put(*given)

    monkeypatch.setattr(beliefs, "put_raters", full)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await critic.observe("default")
    assert await shop.means(critic) == straight
