"""Counting on comes to what reading everything comes to, whatever is said, taken back, erased or quarantined."""

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from statistics import mean

import pytest

from anubhav.flows.counting import catch_up
from anubhav.releases.differences import watch
from anubhav.releases.tallies import Tallies
from anubhav.rewards.signals import merge
from anubhav.rewards.votes import rater_of
from anubhav.store import experience, people, tallies
from anubhav.store.database import Database
from anubhav.types.chat import Message
from anubhav.types.experience import Arm, Choice, Episode, Feedback
from anubhav.types.releases import Judged, Trial

PEOPLE = ("ann", "bob", "cem", "dea", "eli", "fay", "gus", None)
NOW = 1_000_000.0
TRIAL = Trial("tr_1", "default", "tinker://a", "ad_a", "lap_1", "ada", 0, NOW, NOW)


@dataclass
class Life:
    """An alias that is talked to, as the store has it and as it is remembered here."""

    rng: random.Random
    database: Database
    trial: Trial = TRIAL
    clock: float = NOW
    number: int = 0
    episodes: dict[str, Episode] = field(default_factory=dict[str, Episode])
    said: dict[str, Feedback] = field(default_factory=dict[str, Feedback])
    unheard: set[str] = field(default_factory=set[str])

    async def talk(self) -> None:
        self.number, self.clock = self.number + 1, self.clock + 1
        arm: Arm = self.rng.choice(("stable", "stable", "canary", "canary", "holdback", "asked", "shadow"))
        choices = tuple(Choice((1,), (0.0,), "a", "stop") for _ in range(self.rng.choice((1, 1, 2))))
        one = Episode(
            f"ep_{self.number}", "t", "default", "m", None, (Message("user", "?"),), (1,), choices, 1.0,
            self.clock - self.rng.choice((0, 0, 0, 500)), 0.1, self.rng.choice((None, "s1")),
            user=self.rng.choice(PEOPLE), turn=self.rng.choice(("main", "main", "main", "side")), arm=arm,
            origin=self.rng.choice((None, None, None, "elsewhere")),
        )  # fmt: skip
        self.episodes[one.id] = one
        await self.database.run(lambda c: experience.add_episode(c, one))

    async def judge(self) -> None:
        if len(self.episodes) < 2:
            return
        self.number, self.clock = self.number + 1, self.clock + 1
        about, other = self.rng.sample(sorted(self.episodes.values(), key=lambda one: one.id)[-12:], 2)
        kind = self.rng.choice(("thumb", "thumb", "rating", "correction", "comparison", "outcome"))
        against = f"{other.id}:{len(other.choices) - 1}" if kind == "comparison" else None
        one = Feedback(
            f"fb_{self.number}", "t", about.id, self.rng.randrange(len(about.choices)), kind, self.clock,
            self.rng.choice((0.0, 0.3, 1.0)), "text", against, self.rng.choice(PEOPLE),
            source=self.rng.choice(("person", "person", "person", "implied", "judge")),
        )  # fmt: skip
        self.said[one.id] = one
        await self.database.run(lambda c: experience.add_feedback(c, one, "default", "", one.rater))

    async def change(self) -> None:
        """What is rare: a quarantine, an erasure, the next step."""
        what, person = self.rng.choice(("quarantine", "rater", "reply", "step")), self.rng.choice(PEOPLE[:-1])
        if what == "quarantine":
            self.unheard ^= {f"t/{person}"}
        elif what == "rater":
            await self.database.run(lambda c: people.drop_feedback_by(c, "t", str(person)))
            self.said = {name: one for name, one in self.said.items() if one.rater != person}
        elif what == "reply" and self.episodes:
            name = self.rng.choice(sorted(self.episodes))
            await self.database.run(lambda c: people.drop_episodes(c, [name]))
            del self.episodes[name]
            self.said = {key: one for key, one in self.said.items() if one.episode != name}
        elif what == "step":
            self.trial = replace(self.trial, step=self.trial.step + 1, since=self.clock)


def everything(life: Life, arm: Arm) -> tuple[list[Judged], int]:
    """The same of all feedback there is."""
    heard = [one for one in life.said.values() if one.source == "person" and one.episode in life.episodes]
    heard = [one for one in heard if rater_of(one, life.episodes[one.episode].user) not in life.unheard]
    found: dict[str, list[float]] = {}
    for (name, _), reward in merge(heard).items():
        one = life.episodes.get(name)
        if one is None or one.arm != arm or one.turn != "main" or one.origin or one.created_at < life.trial.since:
            continue
        if person := one.user or one.session:
            found.setdefault(f"t/{person}", []).append(reward)
    judged = [Judged(person, 0, (mean(rewards),)) for person, rewards in sorted(found.items())]
    return judged, sum(map(len, found.values()))


async def counted(life: Life, arms: Collection[Arm] = ("canary", "stable")) -> None:
    counts = Tallies(life.database)
    # Two who look at once, as a judgement and the clock may.
    await asyncio.gather(*(catch_up(counts, life.trial, life.unheard) for _ in range(2)))
    sides: list[tuple[Judged, ...]] = []
    for arm in arms:
        tally, (judged, replies) = await counts.of("default", arm), everything(life, arm)
        assert tally.replies == replies, (arm, life.number)
        assert [one.person for one in tally.people] == [one.person for one in judged]
        for mine, wanted in zip(tally.people, judged, strict=True):
            assert mine.rewards == pytest.approx(wanted.rewards, abs=1e-12)
        sides.append(tally.people)
    assert watch(*sides) == watch(everything(life, "canary")[0], everything(life, "stable")[0])


@pytest.mark.parametrize("seed", range(12))
async def test_counting_on_is_reading_everything(seed: int) -> None:
    rng, database = random.Random(seed), Database(":memory:")
    life = Life(rng, database)
    try:
        for _ in range(250):
            await rng.choices((life.talk, life.judge, life.change), (4, 8, 0.4))[0]()
            if rng.random() < 0.25:
                await counted(life)
        await counted(life)
        judged = everything(life, "canary")[0]
    finally:
        database.close()
    assert life.trial.step or judged, "nothing was counted"


async def test_only_what_is_new_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(":memory:")
    life = Life(random.Random(3), database)
    pages: list[int] = []
    ours = Tallies.page

    async def page(self: Tallies, alias: str, position: int) -> object:
        found = await ours(self, alias, position)
        pages.append(len(found.feedback))
        return found

    monkeypatch.setattr(Tallies, "page", page)
    try:
        for _ in range(400):
            await life.talk()
            await life.judge()
        await catch_up(Tallies(database), life.trial, ())
        before = sum(pages)
        assert before >= 399
        await life.judge()
        await catch_up(Tallies(database), life.trial, ())
        assert sum(pages) == before + 1
    finally:
        database.close()


async def test_what_is_counted_is_forgotten_with_the_person() -> None:
    database = Database(":memory:")
    life = Life(random.Random(4), database)
    try:
        for _ in range(200):
            await life.talk()
            await life.judge()
        await catch_up(Tallies(database), life.trial, ())
        theirs = [name for name, one in life.episodes.items() if one.user == "ann"]
        await database.run(lambda c: (people.drop_feedback_by(c, "t", "ann"), people.drop_episodes(c, theirs)))
        kept = await database.run(lambda c: c.execute("SELECT count(*) FROM tally_votes").fetchone()[0])
        assert kept == 0
        assert await database.run(lambda c: tallies.find(c, "default")) is None
        await catch_up(Tallies(database), life.trial, ())
        assert not [one for one in (await Tallies(database).of("default", "stable")).people if one.person == "t/ann"]
    finally:
        database.close()


async def test_who_lost_a_comparison_is_forgotten_too() -> None:
    database = Database(":memory:")
    life = Life(random.Random(5), database)
    try:
        sides: tuple[tuple[str, Arm], ...] = (("ann", "stable"), ("bob", "canary"))
        for number, (person, arm) in enumerate(sides):
            one = Episode(
                f"ep_{number}", "t", "default", "m", None, (Message("user", "?"),), (1,),
                (Choice((1,), (0.0,), "a", "stop"),), 1.0, NOW, 0.1, user=person, arm=arm,
            )  # fmt: skip
            await database.run(lambda c, one=one: experience.add_episode(c, one))
        said = Feedback("fb_1", "t", "ep_1", 0, "comparison", NOW, against="ep_0:0", rater="cem")
        await database.run(lambda c: experience.add_feedback(c, said, "default", "", "cem"))
        await catch_up(Tallies(database), life.trial, ())
        assert [one.person for one in (await Tallies(database).of("default", "stable")).people] == ["t/ann"]
        await database.run(lambda c: people.drop_episodes(c, ["ep_0"]))
        assert await database.run(lambda c: tallies.find(c, "default")) is None
        await catch_up(Tallies(database), life.trial, ())
        assert (await Tallies(database).of("default", "stable")).people == ()
        assert [one.person for one in (await Tallies(database).of("default", "canary")).people] == ["t/bob"]
    finally:
        database.close()
