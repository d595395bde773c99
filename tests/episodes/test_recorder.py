from collections.abc import Iterator
from typing import Any

import pytest

from anubhav.episodes.recorder import STAGE, Given, Recorder
from anubhav.errors import BadInput, Mismatch, NotFound
from anubhav.store import experience
from anubhav.store.database import Database
from anubhav.types.chat import Message
from anubhav.types.experience import Choice, Episode, Lap


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(":memory:")
    yield database
    database.close()


@pytest.fixture
def recorder(database: Database) -> Recorder:
    return Recorder(database)


def episode(name: str, tenant: str = "ada", alias: str = "default", choices: int = 2) -> Episode:
    spoken = tuple(Choice((5, 1), (-0.5, -0.25), f"answer {place}", "stop") for place in range(choices))
    asked = (Message("user", "How long?"),)
    return Episode(name, tenant, alias, "base", "ad_1", asked, (1, 2, 3), spoken, 0.7, 12.0, 0.5, "s1")


async def test_an_episode_comes_back_as_it_was(recorder: Recorder) -> None:
    said = episode("ep_1")
    await recorder.record(said)
    found = await recorder.find("ada", "ep_1")
    assert found.seq == 1
    assert (found.choices, found.messages, found.prompt_tokens) == (said.choices, said.messages, said.prompt_tokens)
    with pytest.raises(NotFound):
        await recorder.find("bob", "ep_1")


async def test_recent_is_newest_first_and_the_tenant_s_own(recorder: Recorder) -> None:
    for name, tenant in (("ep_1", "ada"), ("ep_2", "bob"), ("ep_3", "ada")):
        await recorder.record(episode(name, tenant))
    await recorder.react("ada", [Given("ep_1", "thumb", value=True)])
    assert [one.id for one, _ in await recorder.recent(10)] == ["ep_3", "ep_2", "ep_1"]
    mine = await recorder.recent(10, "ada")
    assert [(one.id, [judged.kind for judged in found]) for one, found in mine] == [("ep_3", []), ("ep_1", ["thumb"])]


@pytest.mark.parametrize(
    ("kind", "value", "text", "kept"),
    [
        ("thumb", True, None, 1.0),
        ("thumb", "down", None, 0.0),
        ("thumb", 1, None, 1.0),
        ("rating", 0.25, None, 0.25),
        ("outcome", 1, "sold", 1.0),
        ("correction", None, "Seven days.", None),
    ],
)
async def test_each_kind_is_kept_as_it_was_given(
    recorder: Recorder, kind: str, value: object, text: str | None, kept: float | None
) -> None:
    await recorder.record(episode("ep_1"))
    ((feedback, about, status),) = await recorder.react("ada", [Given("ep_1:1", kind, value, text)])
    assert (feedback.episode, feedback.choice, feedback.value, feedback.text) == ("ep_1", 1, kept, text)
    assert (about.id, status) == ("ep_1", "accepted")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (Given("ep_1", "thumb", 0.5), BadInput),
        (Given("ep_1", "thumb", "sideways"), BadInput),
        (Given("ep_1", "thumb"), BadInput),
        (Given("ep_1", "rating", 1.5), BadInput),
        (Given("ep_1", "rating", float("nan")), BadInput),
        (Given("ep_1", "rating", "0.5"), BadInput),
        (Given("ep_1", "correction", text="  "), BadInput),
        (Given("ep_1", "correction", text="x" * 32_001), BadInput),
        (Given("ep_1", "applause"), BadInput),
        (Given("ep_1", "comparison", 1), BadInput),
        (Given("ep_1", "comparison", "ep_1:0"), BadInput),
        (Given("ep_1", "comparison", "ep_other"), BadInput),
        (Given("ep_1", "comparison", "ep_bob"), NotFound),
        (Given("ep_1", "comparison", "ep_1:2"), NotFound),
        (Given("ep_1:2", "thumb", True), NotFound),
        (Given("ep_1:x", "thumb", True), NotFound),
        (Given("ep_bob", "thumb", True), NotFound),
        (Given("ep_none", "thumb", True), NotFound),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_of_its_batch_kept(
    recorder: Recorder, given: Given, error: type[Exception]
) -> None:
    await recorder.record(episode("ep_1"))
    await recorder.record(episode("ep_bob", "bob"))
    await recorder.record(episode("ep_other", alias="other"))
    with pytest.raises(error):
        await recorder.react("ada", [Given("ep_1", "thumb", value=True), given])
    assert not (await recorder.unread("default")).feedback


async def test_the_same_id_counts_once(recorder: Recorder) -> None:
    await recorder.record(episode("ep_1"))
    given = Given("ep_1", "thumb", True, id="mine-1")
    answers = [(await recorder.react("ada", [given]))[0] for _ in range(3)]
    assert [status for _, _, status in answers] == ["accepted", "repeated", "repeated"]
    assert len({feedback.created_at for feedback, _, _ in answers}) == 1
    with pytest.raises(Mismatch):
        await recorder.react("ada", [Given("ep_1", "thumb", value=False, id="mine-1")])
    await recorder.record(episode("ep_bob", "bob"))
    await recorder.react("bob", [Given("ep_bob", "thumb", value=False, id="mine-1")])
    assert len((await recorder.unread("default")).feedback) == 2


async def test_unread_begins_after_the_cursor_and_replays_what_was_taught(
    recorder: Recorder, database: Database
) -> None:
    await recorder.record(episode("ep_1"))
    await recorder.record(episode("ep_2"))

    async def correct(target: str, text: str) -> int:
        ((feedback, _, _),) = await recorder.react("ada", [Given(target, "correction", text=text)])
        return (await recorder.unread("default")).span[1] if feedback else 0

    first = await correct("ep_1", "taught")
    await finish(database, Lap("lap_1", "default", "done", "done", 0.0, 1.0, {"span": (0, first)}), first)
    second = await correct("ep_2", "refused")
    await finish(database, Lap("lap_2", "default", "done", "done", 0.0, 1.0, {"span": (first, second)}), second)
    await correct("ep_1:1", "new")
    fresh = await recorder.unread("default", ["lap_1"])
    assert [one.text for one in fresh.feedback] == ["new"]
    assert [one.text for one in fresh.older] == ["taught"]
    assert (fresh.span, fresh.full, set(fresh.episodes)) == ((second, second + 1), False, {"ep_1"})


async def finish(database: Database, lap: Lap, position: int) -> None:
    def work(connection: Any) -> None:
        experience.put_lap(connection, lap)
        experience.advance(connection, STAGE, lap.alias, position)

    await database.run(work)
