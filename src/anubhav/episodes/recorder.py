"""The recorder: an answer is an episode before it is given, a judgement is a row before it is acknowledged.

What the tenant's policy takes out of texts is out before anything is kept, and who did not consent is not learned from.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

import msgspec

from anubhav.episodes.policies import Policies
from anubhav.episodes.redaction import Redactor
from anubhav.episodes.wording import checked
from anubhav.errors import BadInput, Mismatch, NotFound
from anubhav.store import beliefs, experience, people
from anubhav.store.database import Connection, Database
from anubhav.telemetry.metrics import count_episode, count_feedback
from anubhav.types.chat import Message
from anubhav.types.experience import Choice, Episode, Feedback, Source, rater_of, split_target
from anubhav.types.ids import new_id

STAGE = "lap"
"""The cursor of the learning loop."""
_LAP_LIMIT = 1024
"""Feedback one lap reads at most; what is beyond waits for the next."""
_REPLAYED = 512
_SESSION_LIMIT = 2000
_NEW_ID = "Use a new id."


@dataclass(frozen=True, slots=True)
class Given:
    """Feedback as a client words it, on a reply or, with `session` and no target, on the last main reply of one."""

    target: str | None
    kind: str
    value: object = None
    text: str | None = None
    rater: str | None = None
    id: str | None = None
    session: str | None = None
    source: Source = "person"
    tags: Sequence[str] = ()


class Words(Protocol):
    """Messages and answers as one model's tokens (rendering)."""

    def render(self, messages: Sequence[Message]) -> tuple[int, ...]: ...

    def answer(self, text: str) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Fresh:
    """Unread feedback of an alias with its episodes, and older corrections to replay."""

    feedback: tuple[Feedback, ...]
    older: tuple[Feedback, ...]
    """Newest first."""
    episodes: dict[str, Episode]
    span: tuple[int, int]
    """Where the cursor stands, and where it will once this was used."""
    full: bool
    """One lap cannot read more than this."""
    left: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why → how much of the unread feedback may not be learned from."""


class Recorder:
    def __init__(
        self, database: Database, policies: Policies | None = None, words: Mapping[str, Words] | None = None
    ) -> None:
        """`words` by base model: what was redacted is put into tokens again."""
        self._database = database
        self._policies = policies or Policies(database)
        self._words = words or {}

    async def record(self, episode: Episode) -> Episode:
        """Returns the episode as it is kept: redacted, and not trainable where consent is missing."""
        kept, new = await self._record(episode)
        if new:
            count_episode(kept.arm)
        return kept

    async def bring(self, episode: Episode) -> bool:
        """Keep an episode from elsewhere; False when it is here already."""
        return (await self._record(episode))[1]

    async def beside(self, reply: str, episode: Episode) -> Episode | None:
        """Keep what a candidate said to what was asked, unheard; None where the reply may not be learned from now."""
        episode = await self._as_kept(episode)
        return await self._database.run(lambda c: _record(c, episode)[0] if _taught_from(c, reply) else None)

    async def allowed(self, episode: str) -> Episode | None:
        """The episode if it is a main turn that may be learned from now; None also where it was erased."""
        return await self._database.run(lambda c: _taught_from(c, episode))

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
        redactor = await self._policies.redactor(tenant)
        if redactor:
            given = [replace(one, text=redactor.text(one.text)) if one.text else one for one in given]
        kept = await self._database.run(lambda c: [_enter(c, tenant, one) for one in given])
        for feedback, _, status in kept:
            if status == "accepted":
                count_feedback(feedback.kind)
        return kept

    async def session(self, tenant: str, session: str) -> list[Episode]:
        """Oldest first. Raises NotFound for a session of which nothing is kept."""
        found = await self._database.run(lambda c: experience.episodes_in(c, tenant, session, _SESSION_LIMIT))
        if not found:
            raise NotFound(
                f"There is no session {session[:100]!r}", hint="Name one in X-Session-Id when you ask for replies."
            )
        return found

    async def asked(self, alias: str, limit: int) -> list[Episode]:
        """The last main turns of an alias that may be learned from, judged or not, newest first."""
        return await self._database.run(lambda c: _asked(c, alias, limit))

    async def unread(self, alias: str, taught: Sequence[str] = ()) -> Fresh:
        """`taught`: the laps whose feedback is worth replaying; their reports tell what they read as `span`.

        Without side turns, and without what its people or its tenant do not let us learn from.
        """
        return await self._database.run(lambda c: _unread(c, alias, taught))

    async def _record(self, episode: Episode) -> tuple[Episode, bool]:
        episode = await self._as_kept(episode)
        return await self._database.run(lambda c: _record(c, episode))

    async def _as_kept(self, episode: Episode) -> Episode:
        redactor = await self._policies.redactor(episode.tenant)
        return self._redacted(episode, redactor) if redactor else episode

    def _redacted(self, episode: Episode, redactor: Redactor) -> Episode:
        messages = redactor.messages(episode.messages)
        texts = [redactor.text(choice.text) for choice in episode.choices]
        if messages == episode.messages and texts == [choice.text for choice in episode.choices]:
            return episode
        words = self._words.get(episode.base_model)
        prompt = words.render(messages) if words else ()
        choices = tuple(_reworded(one, text, words) for one, text in zip(episode.choices, texts, strict=True))
        return replace(episode, messages=messages, prompt_tokens=prompt, choices=choices, redacted=True)


def _reworded(choice: Choice, text: str, words: Words | None) -> Choice:
    tokens = words.answer(text) if words else ()
    # A reply that was cut short has no end of turn.
    return Choice(tokens if choice.stop_reason == "stop" else tokens[:-1], (), text, choice.stop_reason)


def _record(connection: Connection, episode: Episode) -> tuple[Episode, bool]:
    if episode.trainable and not people.consents(connection, episode.tenant, episode.user):
        episode = replace(episode, trainable=False)
    return episode, experience.add_episode(connection, episode)


def _find(connection: Connection, tenant: str, episode: str) -> Episode:
    found = experience.find_episode(connection, episode)
    if found is None or found.tenant != tenant:
        raise NotFound(f"There is no reply {episode[:100]!r}", hint="Use the id of a reply this server gave you.")
    return found


def _enter(connection: Connection, tenant: str, given: Given) -> tuple[Feedback, Episode, str]:
    value, text = checked(given.kind, given.value, given.text)
    again = experience.find_feedback(connection, tenant, given.id) if given.id else None
    if again and given.session and again[0].session == given.session:
        # Later replies of the session do not move what was said before them.
        episode, choice = _find(connection, tenant, again[0].episode), again[0].choice
    else:
        episode, choice = _aim(connection, tenant, given)
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
        source=given.source,
        session=given.session,
        tags=tuple(given.tags),
    )
    if again:
        if replace(again[0], created_at=0.0, seq=0) != replace(feedback, created_at=0.0):
            raise Mismatch(f"The feedback {again[0].id[:100]} was given before with another content", hint=_NEW_ID)
        return again[0], episode, "repeated"
    digest = hashlib.sha256(msgspec.json.encode(replace(feedback, created_at=0.0))).hexdigest()
    experience.add_feedback(connection, feedback, episode.alias, digest, rater_of(feedback, episode))
    return feedback, episode, "accepted"


def _aim(connection: Connection, tenant: str, given: Given) -> tuple[Episode, int]:
    if (given.target is None) == (given.session is None):
        raise BadInput("Feedback is on a reply or on a session", hint="Send either target or session.")
    if given.target is not None:
        return _target(connection, tenant, given.target)
    session = given.session or ""
    if (episode := experience.last_main(connection, tenant, session)) is None:
        raise NotFound(
            f"There is no reply in the session {session[:100]!r}",
            hint="Name the session in X-Session-Id when you ask for replies.",
        )
    return episode, 0


def _target(connection: Connection, tenant: str, target: str) -> tuple[Episode, int]:
    name, choice = split_target(target)
    episode = _find(connection, tenant, name)
    if episode.arm == "shadow":
        raise BadInput(f"Nobody heard {name}: a candidate said it in the shadow", hint="Judge a reply that was given.")
    if choice >= len(episode.choices):
        raise NotFound(f"The reply {name} has {len(episode.choices)} choices, not {choice + 1}", hint="Count from 0.")
    return episode, choice


def _unread(connection: Connection, alias: str, taught: Sequence[str]) -> Fresh:
    start = experience.position(connection, STAGE, alias)
    feedback = experience.feedback_after(connection, alias, start, _LAP_LIMIT)
    older = _replay(connection, alias, taught)
    names = {one.episode for one in (*feedback, *older)}
    names |= {split_target(one.against)[0] for one in feedback if one.against}
    episodes = {name: found for name in sorted(names) if (found := _taught_from(connection, name))}
    end = feedback[-1].seq if feedback else start

    def allowed(one: Feedback) -> bool:
        return one.episode in episodes and not people.opted_out(connection, one.tenant, one.rater)

    kept, replayed = tuple(filter(allowed, feedback)), tuple(filter(allowed, older))
    left = Counter(_why(connection, one) for one in feedback if not allowed(one))
    return Fresh(kept, replayed, episodes, (start, end), len(feedback) == _LAP_LIMIT, left)


def _why(connection: Connection, one: Feedback) -> str:
    """What keeps this from being learned from."""
    episode = experience.find_episode(connection, one.episode)
    return "erased" if episode is None else "side turns" if episode.turn != "main" else "no consent"


def _asked(connection: Connection, alias: str, limit: int) -> list[Episode]:
    found = beliefs.answers(connection, alias, limit)
    return [one for one in found if people.consents(connection, one.tenant, one.user)]


def _taught_from(connection: Connection, name: str) -> Episode | None:
    """The episode if it may be learned from now, whatever was so when it was recorded."""
    found = experience.find_episode(connection, name)
    allowed = found and found.trainable and found.turn == "main"
    return found if found and allowed and people.consents(connection, found.tenant, found.user) else None


def _replay(connection: Connection, alias: str, taught: Sequence[str]) -> list[Feedback]:
    older: list[Feedback] = []
    for name in reversed(taught):
        if (found := experience.find_lap(connection, name)) and (span := found[0].report.get("span")):
            after, upto = cast(tuple[int, int], span)
            older += experience.corrections_between(connection, alias, after, upto, _REPLAYED - len(older))
    return older
