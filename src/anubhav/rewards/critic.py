"""The critic: what people would think of an answer, learned from every judgement as it comes, and how sure that is.

It reads feedback from the store behind a cursor of its own and writes belief and cursor together, so that each
judgement counts once whatever happens. What was heard since the last writing is heard again after a crash, in the same
order, with the same result. Answers are read by the frozen base (the Reader port), soon after they were given where
the engine is idle, else when they are judged.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anubhav.errors import AnubhavError, BadInput, NotFound
from anubhav.ports import Reader
from anubhav.rendering.renderer import Renderer
from anubhav.rewards import minds
from anubhav.rewards.covariates import NAMES
from anubhav.rewards.mind import Mind
from anubhav.rewards.reading import Gallery
from anubhav.rewards.standing import Ledger
from anubhav.rewards.votes import View, ballot, cast
from anubhav.rewards.watch import alarms
from anubhav.store import beliefs, experience, people
from anubhav.store.beliefs import Place
from anubhav.store.database import Connection, Database
from anubhav.types.experience import Episode, Feedback, split_target
from anubhav.types.rewards import Estimate, Mark

STAGE = "critic"
AUDITED = 20
"""Votes of held-out raters from which on the audit can tell answers apart."""
_BATCH = 64
_WRITE_EVERY = 16
"""Votes, when they come faster than one a second."""
_WATCH_SECONDS = 5.0
_GLANCE_SECONDS = 1.0
_MINDS = 32
"""Kept in memory."""

Tokens = Sequence[int]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Heard:
    feedback: Feedback
    episode: Episode
    other: Episode | None
    """Where what lost to it was said."""


class Critic:
    def __init__(self, database: Database, readers: Mapping[str, Reader], renderers: Mapping[str, Renderer]) -> None:
        """`readers` and `renderers` by base model."""
        self._database = database
        self.gallery = Gallery(database, readers, renderers)
        self._minds: OrderedDict[Place, Mind] = OrderedDict()
        self._dirty: set[Place] = set()
        self._positions: dict[str, int] = {}
        self._written: dict[str, float] = {}
        self._unwritten: dict[str, int] = {}
        self._watched: dict[Place, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._nudged: dict[str, asyncio.Task[None]] = {}
        self.audit = Audit(self)

    async def score(
        self, alias: str, base_model: str, items: Sequence[tuple[Tokens, Tokens]], *, watched: bool = True
    ) -> list[Estimate]:
        """What a usual rater would think of each (prompt tokens, answer tokens), after all feedback so far.

        The watch sees them as fresh answers unless told otherwise. Raises NotFound for a base model not served.
        """
        return await self._score(alias, base_model, items, audit=False, watched=watched)

    async def appraise(self, alias: str, answers: Sequence[tuple[Episode, int]]) -> list[Estimate | None]:
        """The same of answers that are recorded, by what was read of them when they were given.

        None for those nothing is known about yet.
        """
        mind = await self.mind(alias)
        views = [await self.gallery.view(*one) for one in answers] if mind and mind.steps else []
        if mind is None or not views:
            return [None] * len(answers)
        known = mind.estimate([view for view in views if view])
        left = iter(known)
        return [next(left) if view else None for view in views]

    async def observe(self, alias: str) -> int:
        """Take a step for each judgement not counted yet; returns how many there were."""
        async with self._lock(alias):
            count = 0
            while batch := await self._fresh(alias):
                for one in batch:
                    await self._hear(alias, one)
                    self._positions[alias] = one.seq
                    self._unwritten[alias] = self._unwritten.get(alias, 0) + 1
                    count += 1
                await self._write_if_due(alias)
            await self._write_if_due(alias)
            return count

    def nudge(self, alias: str) -> None:
        """Observe soon, in the background: the giver of a judgement does not wait for it."""
        if alias not in self._nudged or self._nudged[alias].done():
            self._nudged[alias] = asyncio.create_task(self._observe_quietly(alias))

    def remember(self, episode: Episode) -> None:
        """Read an answer in an idle moment, so that a judgement on it is a matter of milliseconds."""
        self.gallery.remember(episode)

    async def flush(self) -> None:
        """Write all that was learned."""
        for alias in list(self._unwritten):
            async with self._lock(alias):
                await self._write(alias)

    async def stop(self) -> None:
        """Finish what is under way and write it. What could not be finished is read again at the next start."""
        await self.gallery.stop()
        tasks = [task for task in self._nudged.values() if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        for task in tasks:
            task.cancel()
        await self.flush()

    async def rebuild(self, alias: str) -> int:
        """Forget all beliefs about an alias and learn them anew from the feedback that is kept."""
        async with self._lock(alias):
            await self._database.run(lambda c: (beliefs.drop(c, alias), experience.advance(c, STAGE, alias, 0)))
            for place in [place for place in self._minds if place[0] == alias]:
                del self._minds[place]
                self._dirty.discard(place)
            self._positions.pop(alias, None)
        return await self.observe(alias)

    async def forget(self, raters: Sequence[str] = (), episodes: Sequence[str] = ()) -> None:
        """Take back every vote of these raters (`<tenant>/<rater or user>`) and on these episodes, and what was read.

        Their rows are to be gone from the store first, or the next judgement would not find them missing.
        """
        names = [*raters, *(f"implied:{rater}" for rater in raters)]
        for alias in sorted({alias for alias, _ in await self._database.run(beliefs.places)} | set(self._positions)):
            async with self._lock(alias):
                for place in await self._places(alias):
                    mind = await self._mind(place)
                    for name in names:
                        if name in mind.ledger.raters:
                            mind.forget(name)
                    for episode in episodes:
                        mind.forget_items(episode)
                    self._dirty.add(place)
                await self._write(alias)
        self.gallery.drop(episodes)
        await self._database.run(lambda c: beliefs.drop_readings(c, episodes))

    async def mark(self, rater: str, mark: Mark | None) -> None:
        """An operator's word on a rater, for all aliases. What a quarantined rater said is taken back."""
        await self._database.run(lambda c: beliefs.set_mark(c, rater, mark))
        for place in await self._database.run(beliefs.places):
            async with self._lock(place[0]):
                mind = await self._mind(place)
                mind.ledger.mark(rater, mark)
                if mark == "quarantined":
                    mind.disown(rater)
                self._dirty.add(place)
                await self._write(place[0])

    async def mind(self, alias: str) -> Mind | None:
        """The mind that heard most of an alias, after all feedback so far; None before any."""
        await self.observe(alias)
        return _fullest([await self._mind(place) for place in await self._places(alias)])

    async def glance(self, alias: str) -> tuple[Mind | None, int]:
        """The same without waiting for a long backlog, and how many judgements of it are not counted yet."""
        self.nudge(alias)
        await asyncio.wait({self._nudged[alias]}, timeout=_GLANCE_SECONDS)
        if self._lock(alias).locked():
            # Loading a mind beside the counting would put one back that lacks the last steps.
            found = _fullest([mind for place, mind in self._minds.items() if place[0] == alias])
        else:
            async with self._lock(alias):
                found = _fullest([await self._mind(place) for place in await self._places(alias)])
        after = self._positions.get(alias, 0)
        return found, await self._database.run(lambda c: experience.count_after(c, alias, after))

    async def ledger(self, alias: str) -> Ledger:
        """How the raters of an alias stand; everybody is new where nothing was heard."""
        mind = await self.mind(alias)
        if mind:
            return mind.ledger
        ledger = Ledger()
        ledger.marks = await self._marks()
        return ledger

    async def _score(
        self, alias: str, base_model: str, items: Sequence[tuple[Tokens, Tokens]], *, audit: bool, watched: bool
    ) -> list[Estimate]:
        await self.observe(alias)
        views = await self.gallery.look(base_model, items)
        async with self._lock(alias):
            mind = await self._mind((alias, base_model), len(views[0].features) if views else 0)
            found = mind.estimate(views, audit=audit)
            if watched and not audit and mind.steps:
                mind.look(views, found)
                self._dirty.add((alias, base_model))
                self._unwritten.setdefault(alias, 0)
        return found

    async def _observe_quietly(self, alias: str) -> None:
        try:
            await self.observe(alias)
        except AnubhavError as problem:
            # The cursor stands where it stood: the next judgement or score reads on from there.
            log.warning("the critic could not read the feedback on %s: %s", alias, problem)

    async def _fresh(self, alias: str) -> list[Feedback]:
        if alias not in self._positions:
            self._positions[alias] = await self._database.run(lambda c: experience.position(c, STAGE, alias))
        start = self._positions[alias]
        return await self._database.run(lambda c: experience.feedback_after(c, alias, start, _BATCH))

    async def _hear(self, alias: str, feedback: Feedback) -> None:
        heard = await self._database.run(lambda c: _look_up(c, feedback))
        if heard is None or heard.episode.base_model not in self.gallery.models:
            return
        try:
            view, against = await self._views(heard)
        except BadInput as problem:
            log.warning("the judgement %s is passed over: %s", feedback.id, problem)
            return
        if view is None:
            return
        vote = cast(feedback, view, against, heard.episode.user)
        place = (alias, heard.episode.base_model)
        mind = await self._mind(place, len(view.features))
        self._dirty.add(place)
        # In pieces, so that a thousand votes at once do not hold everybody else up.
        await asyncio.sleep(0)
        mind.step(vote, ballot(feedback))

    async def _views(self, heard: _Heard) -> tuple[View | None, View | None]:
        """The answer that is judged, or that won, and what lost to it."""
        feedback, episode = heard.feedback, heard.episode
        if feedback.kind == "correction":
            return await self.gallery.corrected(episode, feedback), await self.gallery.view(episode, feedback.choice)
        said = await self.gallery.view(episode, feedback.choice)
        if feedback.kind == "comparison":
            place = split_target(feedback.against or "")[1]
            lost = await self.gallery.view(heard.other, place) if heard.other else None
            return (said, lost) if lost else (None, None)
        return said, None

    async def _mind(self, place: Place, features: int | None = None) -> Mind:
        if place not in self._minds:
            found = await self._database.run(lambda c: beliefs.find(c, place))
            if found is None and features is None:
                raise NotFound(f"Nothing was learned about {place[0]} yet", hint="Give feedback first.")
            marks = await self._marks()
            self._minds[place] = minds.read(found, features or 0, len(NAMES), marks)
            clean = [old for old in self._minds if old not in self._dirty and old != place]
            for old in clean[: max(0, len(self._minds) - _MINDS)]:
                del self._minds[old]
        self._minds.move_to_end(place)
        return self._minds[place]

    async def _marks(self) -> dict[str, Mark]:
        found = await self._database.run(beliefs.marks)
        return {name: "trusted" if mark == "trusted" else "quarantined" for name, mark in found.items()}

    async def _places(self, alias: str) -> list[Place]:
        stored = await self._database.run(lambda c: beliefs.places(c, alias))
        return sorted({*stored, *(place for place in self._dirty if place[0] == alias)})

    async def _write_if_due(self, alias: str) -> None:
        count = self._unwritten.get(alias, 0)
        if count >= _WRITE_EVERY or (count and time.monotonic() - self._written.get(alias, 0.0) > 1.0):
            await self._write(alias)

    async def _write(self, alias: str) -> None:
        """Beliefs and cursor in one transaction."""
        places = sorted(place for place in self._dirty if place[0] == alias)
        self._watch(places)
        written = [minds.write(place, self._minds[place]) for place in places]
        to = self._positions.get(alias)

        def put(connection: Connection) -> None:
            for one in written:
                one.put(connection)
            if to is not None:
                experience.advance(connection, STAGE, alias, to)

        try:
            await self._database.run(put)
        except AnubhavError:
            # What counted as written is not: read it all anew from where the store stands.
            for place in [place for place in self._minds if place[0] == alias]:
                del self._minds[place]
            self._dirty.difference_update(places)
            self._positions.pop(alias, None)
            self._unwritten.pop(alias, None)
            raise
        self._dirty.difference_update(places)
        self._unwritten.pop(alias, None)
        self._written[alias] = time.monotonic()

    def _watch(self, places: Sequence[Place]) -> None:
        """Now and then, so that it is known since when an alarm rings."""
        now = time.time()
        for place in places:
            if now - self._watched.get(place, 0.0) > _WATCH_SECONDS:
                self._watched[place] = now
                alarms(self._minds[place].record, now)

    def _lock(self, alias: str) -> asyncio.Lock:
        return self._locks.setdefault(alias, asyncio.Lock())


class Audit:
    """A second critic, fitted on the raters who are held out and on nobody else: the gate's judge."""

    def __init__(self, critic: Critic) -> None:
        self._critic = critic

    async def ready(self, alias: str) -> bool:
        """Whether held-out raters have said enough to tell answers apart."""
        mind = await self._critic.mind(alias)
        return mind is not None and mind.audited >= AUDITED

    async def score(self, alias: str, base_model: str, items: Sequence[tuple[Tokens, Tokens]]) -> list[Estimate]:
        """Before anybody was held out: 0, with a deviation that says so."""
        return await self._critic._score(alias, base_model, items, audit=True, watched=False)  # pyright: ignore[reportPrivateUsage]


def _fullest(found: Sequence[Mind]) -> Mind | None:
    return max(found, key=lambda mind: mind.steps, default=None)


def _look_up(connection: Connection, feedback: Feedback) -> _Heard | None:
    episode = experience.find_episode(connection, feedback.episode)
    if episode is None or feedback.choice >= len(episode.choices):
        return None
    if not episode.trainable or not people.consents(connection, episode.tenant, episode.user):
        return None
    other = None
    if feedback.against:
        other = experience.find_episode(connection, split_target(feedback.against)[0])
    return _Heard(feedback, episode, other)
