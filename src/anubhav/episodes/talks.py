"""Talks: conversations kept by name. What replies bring into one goes with their episodes; the rest by hand, or when
its time is over."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from anubhav.episodes.policies import Policies
from anubhav.errors import BadInput, NotFound
from anubhav.store import experience, talks
from anubhav.store.database import Connection, Database
from anubhav.types.ids import new_id
from anubhav.types.talks import Entry, Talk

_MOST = 10_000
"""Entries of one talk."""


class Talks:
    def __init__(self, database: Database, policies: Policies) -> None:
        self._database, self._policies = database, policies

    async def begin(self, tenant: str, metadata: Mapping[str, str], entries: Sequence[Entry]) -> Talk:
        talk = Talk(new_id("conv"), tenant, time.time(), metadata)
        kept = await self._as_kept(tenant, entries)

        def keep(connection: Connection) -> None:
            talks.put_talk(connection, talk)
            talks.add_entries(connection, talk.id, kept)

        await self._database.run(keep)
        return talk

    async def find(self, tenant: str, name: str) -> Talk:
        return await self._database.run(lambda c: _find(c, tenant, name))

    async def describe(self, tenant: str, name: str, metadata: Mapping[str, str]) -> Talk:
        """With this metadata from now on."""

        def keep(connection: Connection) -> Talk:
            talk = replace(_find(connection, tenant, name), metadata=metadata)
            talks.put_talk(connection, talk)
            return talk

        return await self._database.run(keep)

    async def drop(self, tenant: str, name: str) -> None:
        """With its entries; the replies that were given in it stay recorded."""
        await self._database.run(lambda c: talks.drop_talk(c, _find(c, tenant, name).id))
        await self._database.forget_log()

    async def entries(self, tenant: str, name: str) -> list[Entry]:
        """Oldest first."""
        return await self._database.run(lambda c: talks.entries(c, _find(c, tenant, name).id))

    async def page(
        self, tenant: str, name: str, after: str | None, limit: int, *, newest_first: bool
    ) -> tuple[list[Entry], bool]:
        """Some entries, and whether there are more behind them."""
        found = await self._database.run(
            lambda c: talks.page(c, _find(c, tenant, name).id, after, limit + 1, newest_first=newest_first)
        )
        return found[:limit], len(found) > limit

    async def entry(self, tenant: str, name: str, entry: str) -> Entry:
        return await self._database.run(lambda c: _entry(c, tenant, name, entry))

    async def add(self, tenant: str, name: str, entries: Sequence[Entry]) -> list[Entry]:
        """As they are kept. Those of a reply that is not recorded, or not any more, are not kept."""
        kept = await self._as_kept(tenant, entries)

        def add(connection: Connection) -> list[Entry]:
            talk = _find(connection, tenant, name)
            if talks.count_entries(connection, talk.id) + len(kept) > _MOST:
                raise BadInput(f"A conversation has at most {_MOST} items", hint="Begin another one.")
            told = [one for one in kept if one.episode is None or experience.find_episode(connection, one.episode)]
            talks.add_entries(connection, talk.id, told)
            return told

        return await self._database.run(add)

    async def drop_entry(self, tenant: str, name: str, entry: str) -> Talk:
        def drop(connection: Connection) -> Talk:
            talk = _find(connection, tenant, name)
            talks.drop_entry(connection, talk.id, _entry(connection, tenant, name, entry).id)
            return talk

        talk = await self._database.run(drop)
        await self._database.forget_log()
        return talk

    async def _as_kept(self, tenant: str, entries: Sequence[Entry]) -> list[Entry]:
        redactor = await self._policies.redactor(tenant)
        if redactor is None:
            return list(entries)
        messages = redactor.messages([one.message for one in entries])
        return [replace(one, message=message) for one, message in zip(entries, messages, strict=True)]


def _find(connection: Connection, tenant: str, name: str) -> Talk:
    found = talks.find_talk(connection, tenant, name)
    if found is None:
        raise NotFound(f"There is no conversation {name[:100]!r}", hint="Make one: POST /v1/conversations.")
    return found


def _entry(connection: Connection, tenant: str, name: str, entry: str) -> Entry:
    found = talks.find_entry(connection, _find(connection, tenant, name).id, entry)
    if found is None:
        raise NotFound(f"There is no item {entry[:100]!r} in {name[:100]}", hint="List them: GET …/items.")
    return found
