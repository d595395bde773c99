"""The shelf: nobody's change is lost, the ledger is bounded, and what is forgotten is in no line of it."""

from dataclasses import replace
from typing import Any

import pytest

from anubhav.errors import NotFound
from anubhav.memory.cut import Said
from anubhav.memory.forgetting import asked_to_forget
from anubhav.memory.keeper import Keeper
from anubhav.memory.scoring import FIXED
from anubhav.memory.shelf import Change, Shelf, begin, newcomers
from anubhav.store import memories
from anubhav.store.database import Database
from anubhav.types.memory import Decision
from anubhav.types.remembering import Heard, LedgerFilter, Shelved


def count(text: str) -> int:
    return len(text.split())


async def say(shelf: Shelf, was: Shelved, *texts: str, fresh: bool = False) -> Shelved:
    said = [Said("user", text) for text in texts]
    memory, decisions = await Keeper(count, FIXED).hear(was.memory, said, 200)
    now = replace(was, memory=memory)
    told = (*newcomers(was.memory, memory, decisions), *decisions)
    named = tuple(words for text in texts for words in asked_to_forget(text))
    expected = None if fresh else was.memory.version
    assert await shelf.keep(Change(now, expected, told, named, "ep_1", "s", Heard(1, "d")), was.memory)
    return now


async def test_who_comes_second_is_told(database: Database) -> None:
    shelf = Shelf(database)
    first = await say(shelf, begin("ann", "session", "s", 1.0), "One.", fresh=True)
    rival = Change(begin("ann", "session", "s", 1.0), None)
    assert not await shelf.keep(rival, rival.now.memory)
    second = await say(shelf, first, "Two.")
    stale = replace(first, memory=replace(first.memory, version=first.memory.version + 1))
    assert not await shelf.keep(Change(stale, first.memory.version), first.memory)
    found = await shelf.get("ann", first.id)
    assert found == second
    assert await shelf.heard(first.id, "s") == Heard(1, "d")
    assert await shelf.heard(first.id, "other") == Heard()


async def test_another_tenants_is_not_there(database: Database) -> None:
    shelf = Shelf(database)
    mine = await say(shelf, begin("ann", "session", "s", 1.0), "One.", fresh=True)
    for call in (shelf.get("bob", mine.id), shelf.drop("bob", mine.id), shelf.get("ann", "mem_none")):
        with pytest.raises(NotFound):
            await call
    assert await shelf.find("bob", "session", "s") is None
    assert (await shelf.get(None, mine.id)).id == mine.id


async def test_the_ledger_keeps_its_newest_lines(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(memories, "LEDGER", 5)
    shelf = Shelf(database)
    now = await say(shelf, begin("ann", "session", "s", 1.0), "Number 0.", fresh=True)
    for number in range(1, 9):
        now = await say(shelf, now, f"Number {number}.")
    lines = await shelf.ledger(now.id, LedgerFilter())
    assert [line.decision.before for line in lines] == [f"Number {number}." for number in range(8, 3, -1)]


async def test_what_was_replaced_before_it_was_forgotten_leaves_the_ledger_too(database: Database) -> None:
    shelf = Shelf(database)
    now = await say(shelf, begin("ann", "session", "s", 1.0), "My flat is in Pune.", "I like tea.", fresh=True)
    now = await say(shelf, now, "My flat is now in Rome.")
    assert "Pune" in str(await shelf.ledger(now.id, LedgerFilter(act="superseded")))
    now = await say(shelf, now, "Please forget my flat.")
    told = str(await shelf.ledger(now.id, LedgerFilter()))
    assert "Pune" not in told
    assert "Rome" not in told
    assert "I like tea." in told


async def test_what_is_asked_for_again_after_it_was_dropped_leaves_the_ledger(database: Database) -> None:
    shelf = Shelf(database)
    was = await say(shelf, begin("ann", "session", "s", 1.0), "My PIN is 4821.", fresh=True)
    gone = was.memory.chunks[0]
    dropped = Decision(gone.id, "dropped", 1, 0, "user", 0.1, 0, gone.text, "", "worth less")
    empty = replace(was, memory=replace(was.memory, chunks=(), version=was.memory.version + 1))
    assert await shelf.keep(Change(empty, was.memory.version, (dropped,)), was.memory)
    assert await shelf.tells(was.id, frozenset({"pin"}))
    await say(shelf, empty, "Forget my PIN.")
    assert "4821" not in str(await shelf.ledger(was.id, LedgerFilter()))
