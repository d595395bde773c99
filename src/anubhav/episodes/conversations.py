"""Conversations: what was said, as people look for it, by session and a page at a time."""

from collections.abc import Sequence

from anubhav.episodes.recorder import STAGE
from anubhav.errors import NotFound
from anubhav.store import beliefs, experience, judgements, looking, people
from anubhav.store.database import Connection, Database
from anubhav.store.judgements import Row
from anubhav.types.experience import Episode, Feedback
from anubhav.types.looking import Activity, Conversation


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str | None, before: int | None, limit: int) -> list[Conversation]:
        """Those spoken in last first; every tenant's when `tenant` is None."""
        return await self._database.run(lambda c: looking.conversations(c, tenant, before, limit))

    async def turns(
        self, tenant: str, session: str, after: int = 0, limit: int = 50
    ) -> list[tuple[Episode, list[Feedback]]]:
        """Oldest first. Raises NotFound for a session of which nothing is kept."""
        found = await self._database.run(lambda c: looking.turns(c, tenant, session, after, limit))
        if not found and not after:
            raise NotFound(f"There is no session {session[:100]!r}", hint="List them: GET /v1/sessions.")
        return found

    async def turn(self, tenant: str | None, name: str) -> tuple[Episode, list[Feedback]]:
        """One reply with its judgements; of any tenant when `tenant` is None."""
        found = await self._database.run(lambda c: looking.turn(c, tenant, name))
        if found is None:
            raise NotFound(f"There is no reply {name[:100]!r}", hint="Use the id of a reply this server gave.")
        return found

    async def reviewable(self, tenant: str, alias: str, limit: int) -> list[tuple[Episode, list[Feedback]]]:
        """The last answers that people heard and that may be learned from, newest first, each with its judgements."""

        def work(connection: Connection) -> list[tuple[Episode, list[Feedback]]]:
            found = [one for one in beliefs.answers(connection, alias, limit) if _heard(connection, one, tenant)]
            return [(one, experience.feedback_of(connection, one.id)) for one in found]

        return await self._database.run(work)

    async def judgements(
        self,
        alias: str,
        before: int | None,
        limit: int,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        rater: str | None = None,
    ) -> tuple[list[Row], int]:
        """Newest first, and how far laps have read. `rater`: `<tenant>/<rater>`."""

        def work(connection: Connection) -> tuple[list[Row], int]:
            found = judgements.page(connection, alias, before, limit, tenant=tenant, kind=kind, rater=rater)
            return found, experience.position(connection, STAGE, alias)

        return await self._database.run(work)

    async def judged_at(self, alias: str, positions: Sequence[int]) -> tuple[list[Row], int]:
        """Those at these positions that are kept still, and how far laps have read."""
        return await self._database.run(lambda c: (judgements.at(c, positions), experience.position(c, STAGE, alias)))

    async def begun(self) -> tuple[bool, bool, bool]:
        """Whether anybody ever asked anything, and judged anything, and whether others than operators have a key."""
        return await self._database.run(looking.begun)

    async def since(self, moment: float) -> Activity:
        """Of all tenants."""
        return await self._database.run(lambda c: looking.activity(c, moment))


def _heard(connection: Connection, one: Episode, tenant: str) -> bool:
    mine = one.tenant == tenant and one.arm != "shadow" and one.origin is None
    return mine and people.consents(connection, tenant, one.user)
