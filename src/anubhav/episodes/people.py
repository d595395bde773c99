"""People: what is kept of somebody, how it goes when they ask or when its time is over, and what left in exports."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anubhav.episodes.recorder import STAGE
from anubhav.store import experience, lineage, memories, memory_policies, people, talks
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Episode, Feedback, split_target
from anubhav.types.ids import new_id

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Erased:
    """What one call removed, and what had been made of it."""

    removed: tuple[str, ...]
    """Episodes."""
    feedback: int
    """On them, and what the person said of others' replies."""
    names: tuple[str, ...]
    """All that was ever erased of this person: episodes and feedback."""
    laps: tuple[Mapping[str, object], ...]
    exports: tuple[Mapping[str, object], ...]
    memories: int
    """Their own, and those of every session in which they said something."""


class People:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase(self, tenant: str, user: str, who: str) -> Erased:
        """Rows first, in one transaction with the audit; then what the database's log still holds of them."""
        found = await self._database.run(lambda c: _erase(c, tenant, user, who))
        await self._database.forget_log()
        return found

    async def look(self, tenant: str, user: str) -> dict[str, object]:
        """How much is kept of somebody, what is remembered, and whether it is learned from."""
        return await self._database.run(
            lambda c: {
                "user": user,
                "episodes": len(people.episodes_of_user(c, tenant, user)),
                "memories": memories.of_person(c, tenant, user),
                "train": people.consents(c, tenant, user),
            }
        )

    async def expire(self, now: float | None = None) -> list[str]:
        """Remove what its tenant wanted kept for a time that is over; returns the episodes, at most some hundreds."""
        moment = time.time() if now is None else now
        gone = await self._database.run(lambda c: _expire(c, moment))
        if gone:
            await self._database.forget_log()
        return gone

    async def forget(self, tenant: str, episode: str) -> bool:
        """One reply with the feedback on it, as its tenant asks; False where there is none."""
        gone = await self._database.run(lambda c: _forget(c, tenant, episode))
        if gone:
            await self._database.forget_log()
        return gone

    async def fill(self) -> int:
        """See `store.experience.fill_columns`; page by page, so that nobody waits for all of it."""
        filled = 0
        while count := await self._database.run(lambda c: experience.fill_columns(c, _PAGE)):
            filled += count
        return filled

    async def page(
        self, tenant: str, alias: str | None, after: int
    ) -> tuple[list[tuple[Episode, list[Feedback]]], dict[str, Episode], int]:
        """Some episodes that may be learned from, with their feedback; the losers of comparisons; where to go on, -1
        at the end."""
        return await self._database.run(lambda c: _page(c, tenant, alias, after))

    async def begin_export(self, tenant: str, form: str, place: str) -> str:
        name = new_id("exp")
        await self._database.run(lambda c: people.add_export(c, name, tenant, form, place))
        return name

    async def exported(self, export: str, episodes: Sequence[str]) -> None:
        """Note that these leave with an export, before they do."""
        await self._database.run(lambda c: people.add_exported(c, export, episodes))

    async def feedback_on(self, episodes: Sequence[str]) -> list[Feedback]:
        """Of those who let us learn from it."""
        return await self._database.run(
            lambda c: [one for name in episodes for one in _allowed(c, experience.feedback_of(c, name))]
        )

    async def unread_again(self, alias: str, laps: Sequence[str]) -> None:
        """Let the next lap read all feedback again that came since the first of these laps read."""
        await self._database.run(lambda c: _rewind(c, alias, laps))


def _erase(connection: Connection, tenant: str, user: str, who: str) -> Erased:
    mark = hashlib.sha256(f"{tenant}\0{user}".encode()).hexdigest()
    remembered = memories.of_person(connection, tenant, user)
    # What is remembered of somebody stands in the prompts of others who spoke in the same session.
    theirs = people.episodes_of_user(connection, tenant, user)
    episodes = list(dict.fromkeys([*theirs, *memories.seen_by(connection, remembered)]))
    said = people.feedback_ids_by(connection, tenant, user)
    people.mark_erased(connection, tenant, mark, [*episodes, *said])
    names = people.erased_of(connection, tenant, mark)
    laps = lineage.taught_on(connection, names)
    for lap in people.laps_with(connection, names):
        people.clean_lap(connection, lap, frozenset(names))
    memories.drop(connection, remembered)
    memory_policies.drop_labels(connection, tenant, names)
    talks.drop_beside(connection, episodes)
    feedback = people.drop_episodes(connection, episodes)
    feedback += people.drop_feedback_by(connection, tenant, user)
    exports = people.exports_of(connection, names)
    if episodes or feedback or remembered:
        details = {"episodes": len(episodes), "feedback": feedback, "laps": [lap["lap"] for lap in laps], "by": who}
        people.keep_audit(connection, tenant, "user_erased", details)
    return Erased(tuple(episodes), feedback, tuple(names), tuple(laps), tuple(exports), len(remembered))


def _forget(connection: Connection, tenant: str, name: str) -> bool:
    found = experience.find_episode(connection, name)
    if found is None or found.tenant != tenant:
        return False
    for lap in people.laps_with(connection, [name]):
        people.clean_lap(connection, lap, frozenset([name]))
    memory_policies.drop_labels(connection, tenant, [name])
    feedback = people.drop_episodes(connection, [name])
    people.keep_audit(connection, tenant, "reply_deleted", {"episode": name, "feedback": feedback})
    return True


def _expire(connection: Connection, now: float) -> list[str]:
    gone: list[str] = []
    for tenant, days in people.expiring(connection):
        talks.expire_entries(connection, tenant, now - days * 86_400)
        names = people.older_than(connection, tenant, now - days * 86_400, _PAGE - len(gone))
        if names:
            memory_policies.drop_labels(connection, tenant, names)
            feedback = people.drop_episodes(connection, names)
            people.keep_audit(connection, tenant, "episodes_expired", {"episodes": len(names), "feedback": feedback})
        gone += names
    return gone


def _page(
    connection: Connection, tenant: str, alias: str | None, after: int
) -> tuple[list[tuple[Episode, list[Feedback]]], dict[str, Episode], int]:
    found = experience.episodes_after(connection, tenant, alias, after, _PAGE)
    allowed = [one for one in found if one.trainable and one.turn == "main"]
    allowed = [one for one in allowed if people.consents(connection, tenant, one.user)]
    judged = [(one, _allowed(connection, experience.feedback_of(connection, one.id))) for one in allowed]
    names = {split_target(one.against)[0] for _, feedback in judged for one in feedback if one.against}
    others = {name: other for name in sorted(names) if (other := experience.find_episode(connection, name))}
    others = {name: one for name, one in others.items() if people.consents(connection, tenant, one.user)}
    return judged, others, found[-1].seq if len(found) == _PAGE else -1


def _allowed(connection: Connection, feedback: list[Feedback]) -> list[Feedback]:
    return [one for one in feedback if not people.opted_out(connection, one.tenant, one.rater)]


def _rewind(connection: Connection, alias: str, laps: Sequence[str]) -> None:
    spans = [found[0].report.get("span") for lap in laps if (found := experience.find_lap(connection, lap))]
    starts = [int(span[0]) for span in spans if isinstance(span, list | tuple) and span]  # pyright: ignore[reportUnknownArgumentType]
    if starts:
        start = min(*starts, experience.position(connection, STAGE, alias))
        experience.advance(connection, STAGE, alias, start)
