"""The shelf: memories across restarts, each change in one transaction with its ledger, and nobody's change lost.

A change is made for the version it was read at. Who comes second is told, reads again and makes theirs anew.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from anubhav.errors import NotFound
from anubhav.memory.forgetting import find
from anubhav.memory.words import content, split, stem
from anubhav.store import memories, people
from anubhav.store.database import Connection, Database
from anubhav.types.ids import new_id
from anubhav.types.memory import Chunk, Decision, Memory, Scope
from anubhav.types.remembering import Heard, LedgerFilter, LedgerLine, Shelved

_GONE = "what it said was forgotten"
_SWEPT = 200
"""Memories that one sweep looks at."""


@dataclass(frozen=True, slots=True)
class Change:
    """A memory as it becomes, and why."""

    now: Shelved
    expected: int | None
    """The version it was made for; None: there was no such memory."""
    decisions: tuple[Decision, ...] = ()
    named: tuple[frozenset[str], ...] = ()
    """What was asked to be forgotten, as `forgetting` names it."""
    episode: str | None = None
    session: str | None = None
    """Whose `heard` it is."""
    heard: Heard | None = None


class Shelf:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: str, scope: Scope, key: str) -> Shelved | None:
        return await self._database.run(lambda c: memories.find(c, tenant, scope, key))

    async def get(self, tenant: str | None, memory: str) -> Shelved:
        """Raises NotFound; another tenant's is not there either, unless `tenant` is None."""
        found = await self._database.run(lambda c: memories.find_by_id(c, tenant, memory))
        if found is None:
            raise NotFound(
                f"There is no memory {memory[:100]!r}", hint="GET /v1/memories lists yours; a chat's header names its."
            )
        return found

    async def list_of(
        self, tenant: str | None, session: str | None = None, user: str | None = None, limit: int = 100
    ) -> list[Shelved]:
        return await self._database.run(lambda c: memories.list_of(c, tenant, session, user, limit))

    async def heard(self, memory: str, session: str) -> Heard:
        return await self._database.run(lambda c: memories.heard(c, memory, session))

    async def ledger(
        self, memory: str, which: LedgerFilter, before: int | None = None, limit: int = 100
    ) -> list[LedgerLine]:
        """Newest first."""
        return await self._database.run(lambda c: memories.lines(c, memory, which, before, limit))

    async def tells(self, memory: str, named: frozenset[str]) -> bool:
        """Whether a line of its ledger still speaks of what these words name."""
        lines = await self.ledger(memory, LedgerFilter(), None, memories.LEDGER)
        return bool(named) and bool(await asyncio.to_thread(_silence, lines, frozenset[str](), [named]))

    async def keep(self, change: Change, before: Memory) -> bool:
        """False, with nothing changed, when somebody else's change came first. `before`: the memory it was made of.

        What was deleted is deleted from the ledger's older lines too, and from the database's log.
        """
        gone = frozenset(one.chunk for one in change.decisions if one.act == "deleted")
        named = (*change.named, *_lost(before, change.now.memory, gone))
        reworded: list[tuple[int, Decision]] = []
        if named:
            lines = await self.ledger(change.now.id, LedgerFilter(), None, memories.LEDGER)
            reworded = await asyncio.to_thread(_silence, lines, gone, named)
        kept = await self._database.run(lambda c: _keep(c, change, reworded))
        if kept and named:
            await self._database.forget_log()
        return kept

    async def drop(self, tenant: str, memory: str) -> None:
        """All of it. Raises NotFound."""
        found = await self.get(tenant, memory)
        await self._database.run(lambda c: memories.drop(c, [found.id]))
        await self._database.forget_log()

    async def expire(self, now: float | None = None) -> int:
        """What was said before the time its tenant wants things kept goes, save what is pinned by hand.

        Some hundreds of memories at a time; returns how many rows changed.
        """
        moment = time.time() if now is None else now
        changed = await self._database.run(lambda c: _expire(c, moment))
        if changed:
            await self._database.forget_log()
        return changed


def begin(tenant: str, scope: Scope, key: str, now: float) -> Shelved:
    """A memory of which nothing is kept yet."""
    return Shelved(new_id("mem"), tenant, scope, key, created_at=now, updated_at=now)


def name(words: str) -> frozenset[str]:
    """What some words name, as `forgetting` compares it."""
    return frozenset(stem(word) for word in content(f"so {words}"))


def newcomers(before: Memory, after: Memory, decided: Sequence[Decision]) -> tuple[Decision, ...]:
    """A line for each new chunk that nothing was decided about: the ledger tells where all that is here began."""
    known = {chunk.id for chunk in before.chunks} | {one.chunk for one in decided}
    return tuple(
        Decision(one.id, "kept", after.turns, one.turn, one.role, one.score, one.tokens, one.text, one.text, "heard")
        for one in after.chunks
        if one.id not in known
    )


def _keep(connection: Connection, change: Change, reworded: Sequence[tuple[int, Decision]]) -> bool:
    if not memories.keep(connection, change.now, change.expected):
        return False
    version = change.now.memory.version
    memories.reword_lines(connection, reworded)
    memories.add_lines(connection, change.now.id, version, change.decisions, change.episode, change.now.updated_at)
    if change.heard is not None:
        memories.put_heard(connection, change.now.id, change.session or "", change.heard)
    return True


def _lost(before: Memory, after: Memory, gone: frozenset[str]) -> list[frozenset[str]]:
    """The words that name what was taken out of these chunks."""
    left = {chunk.id: set(split(chunk.text)) for chunk in after.chunks}
    lost = [
        " ".join(word for word in split(chunk.text) if word not in left.get(chunk.id, ()))
        for chunk in before.chunks
        if chunk.id in gone
    ]
    return [words for text in lost if (words := name(text))]


def _silence(
    lines: Sequence[LedgerLine], gone: frozenset[str], named: Sequence[frozenset[str]]
) -> list[tuple[int, Decision]]:
    """The ledger's lines that still tell what was deleted, without their texts: those of the chunks it was taken out
    of, and whichever speak of it."""
    told = [_as_chunk(line) for line in lines]
    speaking = {int(chunk) for words in named for chunk in find(told, words)}
    return [
        (line.seq, replace(line.decision, before="", after="", why=_GONE))
        for line in lines
        if line.decision.why != _GONE and (line.decision.chunk in gone or line.seq in speaking)
    ]


def _as_chunk(line: LedgerLine) -> Chunk:
    told = line.decision
    return Chunk(str(line.seq), told.role, f"{told.before} {told.after} {told.why}", 0, told.said, line.created_at)


def _expire(connection: Connection, now: float) -> int:
    changed = 0
    for tenant, days in people.expiring(connection):
        moment = now - days * 86_400
        changed += memories.drop_lines_before(connection, tenant, moment)
        for one in memories.stale(connection, tenant, moment, _SWEPT):
            kept = tuple(chunk for chunk in one.memory.chunks if chunk.at >= moment or chunk.pin == "client")
            after = replace(one.memory, chunks=kept, version=one.memory.version + 1)
            changed += memories.keep(connection, replace(one, memory=after), one.memory.version)
            if not kept:
                memories.drop(connection, [one.id])
    return changed
