"""The recorder: an answer is an episode before it is given, a judgement is a row before it is acknowledged."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import msgspec

from anubhav.episodes.wording import checked
from anubhav.errors import BadInput, Mismatch, NotFound
from anubhav.store import experience
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Episode, Feedback, split_target
from anubhav.types.ids import new_id

STAGE = "lap"
"""The cursor of the learning loop."""
_LAP_LIMIT = 1024
"""Feedback one lap reads at most; what is beyond waits for the next."""
_REPLAYED = 512


@dataclass(frozen=True, slots=True)
class Given:
    """Feedback as a client words it."""

    target: str
    kind: str
    value: object = None
    text: str | None = None
    rater: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Fresh:
    """Unread feedback of an alias with its episodes, and older feedback to replay."""

    feedback: tuple[Feedback, ...]
    older: tuple[Feedback, ...]
    """Newest first."""
    episodes: dict[str, Episode]
    span: tuple[int, int]
    """Where the cursor stands, and where it will once this was used."""
    full: bool
    """One lap cannot read more than this."""


class Recorder:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, episode: Episode) -> None:
        await self._database.run(lambda c: experience.add_episode(c, episode))

    async def find(self, tenant: str, episode: str) -> Episode:
        return await self._database.run(lambda c: _find(c, tenant, episode))

    async def recent(self, limit: int, tenant: str | None = None) -> list[tuple[Episode, list[Feedback]]]:
        """Newest first, each with its feedback; every tenant's when `tenant` is None."""
        return await self._database.run(
            lambda c: [(one, experience.feedback_of(c, one.id)) for one in experience.recent_episodes(c, tenant, limit)]
        )

    async def react(self, tenant: str, given: Sequence[Given]) -> list[tuple[Feedback, Episode, str]]:
        """Keep all of it, or raise and keep none: (feedback, its episode, "accepted" or "repeated") each.

        Raises BadInput for a value its kind cannot have, NotFound for a target that is not the tenant's, Mismatch when
        an id comes again with another content.
        """
        return await self._database.run(lambda c: [_enter(c, tenant, one) for one in given])

    async def unread(self, alias: str, taught: Sequence[str] = ()) -> Fresh:
        """`taught`: the laps whose feedback is worth replaying; their reports tell what they read as `span`."""
        return await self._database.run(lambda c: _unread(c, alias, taught))


def _find(connection: Connection, tenant: str, episode: str) -> Episode:
    found = experience.find_episode(connection, episode)
    if found is None or found.tenant != tenant:
        raise NotFound(f"There is no reply {episode[:100]!r}", hint="Use the id of a reply this server gave you.")
    return found


def _enter(connection: Connection, tenant: str, given: Given) -> tuple[Feedback, Episode, str]:
    value, text = checked(given.kind, given.value, given.text)
    episode, choice = _target(connection, tenant, given.target)
    against = None
    if given.kind == "comparison":
        other, place = _target(connection, tenant, str(given.value))
        if other.alias != episode.alias or (other.id, place) == (episode.id, choice):
            raise BadInput("A comparison needs two different replies of one alias", hint="Name the worse one in value.")
        against = f"{other.id}:{place}"
    feedback = Feedback(
        given.id or new_id("fb"),
        tenant,
        episode.id,
        choice,
        given.kind,  # pyright: ignore[reportArgumentType] - checked above
        time.time(),
        value,
        text,
        against,
        given.rater,
    )
    digest = hashlib.sha256(msgspec.json.encode(replace(feedback, created_at=0.0))).hexdigest()
    if given.id and (found := experience.find_feedback(connection, tenant, given.id)):
        if found[1] != digest:
            raise Mismatch(f"The feedback {given.id[:100]} was given before with another content", hint="Use a new id.")
        return found[0], episode, "repeated"
    experience.add_feedback(connection, feedback, episode.alias, digest)
    return feedback, episode, "accepted"


def _target(connection: Connection, tenant: str, target: str) -> tuple[Episode, int]:
    name, choice = split_target(target)
    episode = _find(connection, tenant, name)
    if choice >= len(episode.choices):
        raise NotFound(f"The reply {name} has {len(episode.choices)} choices, not {choice + 1}", hint="Count from 0.")
    return episode, choice


def _unread(connection: Connection, alias: str, taught: Sequence[str]) -> Fresh:
    start = experience.position(connection, STAGE, alias)
    feedback = experience.feedback_after(connection, alias, start, _LAP_LIMIT)
    older = _replay(connection, alias, taught)
    names = {one.episode for one in (*feedback, *older)}
    names |= {split_target(one.against)[0] for one in feedback if one.against}
    episodes = {name: found for name in sorted(names) if (found := experience.find_episode(connection, name))}
    end = feedback[-1].seq if feedback else start
    return Fresh(tuple(feedback), tuple(older), episodes, (start, end), len(feedback) == _LAP_LIMIT)


def _replay(connection: Connection, alias: str, taught: Sequence[str]) -> list[Feedback]:
    older: list[Feedback] = []
    for name in reversed(taught):
        if (found := experience.find_lap(connection, name)) and (span := found[0].report.get("span")):
            after, upto = cast(tuple[int, int], span)
            older += experience.feedback_between(connection, alias, after, upto, _REPLAYED - len(older))
    return older
