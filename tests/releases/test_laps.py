import asyncio
from collections.abc import Iterator

import pytest

from anubhav.errors import BadInput, Busy, NotFound
from anubhav.releases.laps import WHY, LapBook
from anubhav.store import experience
from anubhav.store.database import Database
from anubhav.types.experience import Lap


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(":memory:")
    yield database
    database.close()


@pytest.fixture
def book(database: Database) -> LapBook:
    return LapBook(database)


async def test_one_lap_of_an_alias_at_a_time(book: LapBook) -> None:
    go = asyncio.Event()

    async def work(lap: Lap) -> None:
        await book.tell(lap, "imitating", step=1)
        await go.wait()
        await book.tell(lap, "judging", probes=3)

    lap = book.open("default")
    with pytest.raises(Busy, match=lap.id):
        book.open("default")
    await book.start(lap, work)
    with pytest.raises(Busy, match=lap.id):
        book.open("default")
    other = book.open("other")
    book.give_up(other)
    assert book.open("other").id != other.id
    go.set()
    ended = await book.wait(lap)
    seconds = ended.report["seconds"]
    assert isinstance(seconds, dict) and list(seconds) == ["starting", "imitating", "judging"]
    assert (ended.phase, ended.report) == ("judging", {"step": 1, "probes": 3, "seconds": seconds})
    book.open("default")


async def test_a_failure_is_told_in_the_lap(book: LapBook) -> None:
    async def work(lap: Lap) -> None:
        await book.tell(lap, "imitating", step=1)
        raise BadInput("The learning rate is too high", hint="Lower it.")

    lap = book.open("default")
    await book.start(lap, work)
    ended = await book.wait(lap)
    assert (ended.state, ended.report["step"]) == ("failed", 1)
    assert "learning rate" in str(ended.report["failure"])


async def test_an_error_of_ours_is_not_shown(book: LapBook, caplog: pytest.LogCaptureFixture) -> None:
    async def work(_lap: Lap) -> None:
        raise ZeroDivisionError("secret")

    lap = book.open("default")
    await book.start(lap, work)
    ended = await book.wait(lap)
    assert ended.state == "failed"
    assert "secret" not in str(ended.report)
    assert "secret" in caplog.text


async def test_stopping_interrupts_what_runs_but_not_what_is_settled(book: LapBook, database: Database) -> None:
    async def hang(_lap: Lap) -> None:
        await asyncio.Event().wait()

    async def settle_and_hang(lap: Lap) -> None:
        done = Lap(lap.id, lap.alias, "done", "done", lap.started_at, 5.0, {"release": "rel_1"})
        await database.run(lambda c: experience.put_lap(c, done, "{}"))
        await asyncio.Event().wait()

    laps = [book.open("a"), book.open("b")]
    await book.start(laps[0], hang)
    await book.start(laps[1], settle_and_hang)
    await asyncio.sleep(0.05)
    await book.stop()
    assert [(await book.find(lap.id))[0].state for lap in laps] == ["interrupted", "done"]


async def test_a_lap_that_a_crash_cut_short_is_interrupted_at_the_next_start(database: Database) -> None:
    lap = Lap("lap_1", "default", "running", "imitating", 1.0, None, {"step": 4})
    await database.run(lambda c: experience.put_lap(c, lap))
    book = LapBook(database)
    await book.recover()
    (found,) = await book.recent("default")
    assert (found.state, found.report["step"]) == ("interrupted", 4)
    assert found.finished_at is not None
    with pytest.raises(NotFound):
        await book.find("lap_2")


async def test_a_paused_lap_rests_between_two_batches(book: LapBook) -> None:
    steps: list[int] = []

    async def work(lap: Lap) -> None:
        for step in range(3):
            steps.append(step)
            await book.tell(lap, "imitating", step=step)
            await book.breathe(lap)

    lap = book.open("default")
    await book.start(lap, work)
    assert (await book.pause(lap.id)).state == "paused"
    await asyncio.sleep(0.05)
    rested = (await book.find(lap.id))[0]
    assert rested.state == "paused"
    assert len(steps) < 3
    assert (await book.resume(lap.id)).state == "running"
    ended = await book.wait(lap)
    assert steps == [0, 1, 2]
    assert ended.report["step"] == 2
    with pytest.raises(BadInput, match="Only a lap that runs"):
        await book.pause(lap.id)


async def test_a_lap_that_pauses_itself_says_why_until_it_goes_on(book: LapBook) -> None:
    async def work(lap: Lap) -> None:
        await book.tell(lap, "remembering", kl_sampler=0.5)
        await book.pause(lap.id, "0.5 nats apart")
        await book.breathe(lap)
        await book.tell(lap, "reinforcing")

    lap = book.open("default")
    await book.start(lap, work)
    await asyncio.sleep(0.05)
    rested = (await book.find(lap.id))[0]
    assert (rested.state, rested.phase, rested.report[WHY]) == ("paused", "remembering", "0.5 nats apart")
    assert WHY not in (await book.resume(lap.id)).report
    ended = await book.wait(lap)
    assert (ended.phase, ended.report["kl_sampler"], WHY in ended.report) == ("reinforcing", 0.5, False)


async def test_a_cancelled_lap_says_who_asked_and_frees_the_alias(book: LapBook) -> None:
    async def work(lap: Lap) -> None:
        await book.breathe(lap)
        await asyncio.Event().wait()

    lap = book.open("default")
    await book.start(lap, work)
    ended = await book.cancel(lap.id, "ada")
    assert (ended.state, ended.report["failure"]) == ("cancelled", "cancelled by ada")
    assert not book.busy


async def test_what_was_cut_short_is_begun_again_unless_it_was_paused(database: Database) -> None:
    """Also after an orderly stop, and when the server ends once more before it has begun it again."""
    for name, state in (("lap_1", "running"), ("lap_2", "paused"), ("lap_3", "interrupted"), ("lap_4", "cancelled")):
        lap = Lap(name, f"alias-{name}", state, "imitating", 1.0)
        await database.run(lambda c, lap=lap: experience.put_lap(c, lap))
    for _ in range(2):
        assert [lap.id for lap in await LapBook(database).recover()] == ["lap_1", "lap_3"]
    done = Lap("lap_5", "alias-lap_1", "done", "done", 2.0)
    await database.run(lambda c: experience.put_lap(c, done))
    assert [lap.id for lap in await LapBook(database).recover()] == ["lap_3"]
