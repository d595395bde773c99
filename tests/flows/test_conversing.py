from collections.abc import AsyncGenerator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from anubhav.episodes import talks as room
from anubhav.episodes.policies import Policies
from anubhav.episodes.talks import Talks
from anubhav.errors import BadInput, NotFound
from anubhav.flows.chat import Reply
from anubhav.flows.conversing import follow
from anubhav.serving.streams import Piece
from anubhav.serving.voices import Voice
from anubhav.store.database import Database
from anubhav.types.chat import Message
from anubhav.types.talks import Entry


def entry(name: str, episode: str | None = None) -> Entry:
    return Entry(name, Message("user", name), 1.0, episode)


async def pieces() -> AsyncGenerator[Piece]:
    yield Piece(0, (1,), (0.0,), (), "a")
    yield Piece(0, (2,), (0.0,), (), "b", "stop")


def noted(heard: Sequence[Piece]) -> list[Entry]:
    return [entry("".join(piece.text for piece in heard), "ep_1")]


@pytest.fixture
def talks(database: Database) -> Talks:
    return Talks(database, Policies(database))


def reply(talks: Talks, talk: str) -> Reply:
    house: Any = SimpleNamespace(talks=talks)
    return follow(house, "ada", talk, Reply("ep_1", Voice("tiny", "tiny"), (), pieces()), noted)


async def test_a_reply_ends_well_whose_conversation_was_deleted_meanwhile(talks: Talks) -> None:
    talk = await talks.begin("ada", {}, [])
    said = reply(talks, talk.id).pieces
    assert (await anext(said)).text == "a"
    await talks.drop("ada", talk.id)
    assert [piece.text async for piece in said] == ["b"]
    with pytest.raises(NotFound):
        await talks.entries("ada", talk.id)


async def test_what_is_not_recorded_is_not_kept(talks: Talks) -> None:
    talk = await talks.begin("ada", {}, [entry("by hand")])
    assert [piece.text async for piece in reply(talks, talk.id).pieces] == ["a", "b"]
    assert [one.id for one in await talks.entries("ada", talk.id)] == ["by hand"]


async def test_a_full_conversation_goes_on_no_further(talks: Talks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MOST", 2)
    talk = await talks.begin("ada", {}, [entry("one")])
    await talks.add("ada", talk.id, [entry("two")])
    with pytest.raises(BadInput, match="at most 2"):
        await talks.add("ada", talk.id, [entry("three")])
    with pytest.raises(BadInput, match="at most 2"):
        await talks.entries("ada", talk.id)
