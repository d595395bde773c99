"""People: erase somebody everywhere at once, let experience out and in, and let go of what its time is over for."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from anubhav.episodes import exports, imports
from anubhav.episodes.exports import Form
from anubhav.episodes.people import Erased
from anubhav.episodes.trajectories import join
from anubhav.errors import AnubhavError, BadInput, Busy
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.react import react
from anubhav.serving.streams import room_after
from anubhav.types.experience import Choice, Episode, Feedback

_SWEEP_SECONDS = 600.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retraining:
    alias: str
    state: Literal["started", "waits", "nothing"]
    """waits: a lap is running; ask again when it is over. nothing: no feedback is left to learn from."""
    rolled_back: bool
    """The alias answers with what it had before it was taught on them."""
    lap: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    episodes: int
    feedback: int
    repeated: int
    """They were here already."""
    skipped: int
    """Lines without an answered conversation, and conversations the model cannot read."""


async def erase(
    house: House, tenant: str, user: str, who: str, *, retrain: bool = False
) -> tuple[Erased, list[Retraining]]:
    """Rows, what was learned of the person's taste, and remembered answers, at once. Again, it finds nothing more and
    tells the same laps. With `retrain`, aliases go back to before they were taught on it and learn the rest anew."""
    found = await house.people.erase(tenant, user, who)
    await house.critic.forget([f"{tenant}/{user}"], found.names)
    house.heard.forget(found.names)
    return found, await _retrain(house, found, who) if retrain else []


async def _retrain(house: House, found: Erased, who: str) -> list[Retraining]:
    done: list[Retraining] = []
    for alias in sorted({str(lap["alias"]) for lap in found.laps}):
        touched = [lap for lap in found.laps if lap["alias"] == alias]
        done.append(await _retrain_alias(house, alias, touched, who))
    return done


async def _retrain_alias(house: House, alias: str, touched: Sequence[Any], who: str) -> Retraining:
    if any(lap.alias == alias and lap.state == "running" for lap in await house.laps.recent(alias, 5)):
        return Retraining(alias, "waits", rolled_back=False, why="a lap is running")
    adapters = {release["adapter"] for lap in touched for release in lap["releases"]}
    back = False
    while (live := await house.register.current(alias)) and live.adapter in adapters:
        await house.register.rollback(alias, who, "somebody whose words it had learned from was erased")
        back = True
    await house.people.unread_again(alias, [str(lap["lap"]) for lap in touched])
    try:
        lap = await start_lap(house, alias, who)
    except Busy as problem:
        return Retraining(alias, "waits", back, why=problem.message)
    except BadInput as problem:
        return Retraining(alias, "nothing", back, why=problem.message)
    return Retraining(alias, "started", back, lap.id)


async def export(
    house: House, tenant: str, form: Form, alias: str | None, place: str
) -> tuple[str, AsyncGenerator[exports.Json]]:
    """The export's id and its rows. What leaves is noted before it does."""
    name = await house.people.begin_export(tenant, form, place)
    return name, _rows(house, tenant, form, alias, name)


async def _rows(house: House, tenant: str, form: Form, alias: str | None, name: str) -> AsyncGenerator[exports.Json]:
    after, sessions = 0, set[str]()
    while after >= 0:
        page, others, after = await house.people.page(tenant, alias, after)
        for episode, feedback in page:
            if form == "trajectory":
                found = await _trajectories(house, episode, feedback, sessions)
            else:
                found = list(exports.rows(form, episode, feedback, others))
            await house.people.exported(name, [one for row in found for one in row["episodes"]])
            for row in found:
                yield row


async def _trajectories(
    house: House, episode: Episode, feedback: Sequence[Feedback], sessions: set[str]
) -> list[exports.Json]:
    """A session's when its first reply comes; a reply without one is a trajectory of its own."""
    if episode.session in sessions:
        return []
    spoken = [episode]
    if episode.session:
        sessions.add(episode.session)
        spoken = [one for one in await house.recorder.session(episode.tenant, episode.session) if one.trainable]
        feedback = await house.people.feedback_on([one.id for one in spoken])
    return [
        exports.trajectory_row(episode.session, one, [said for said in feedback if said.episode in names])
        for one in join(episode.session or episode.id, spoken).trajectories
        if (names := {span.episode for span in one.spans if span.episode})
    ]


async def bring(house: House, tenant: str, alias: str, records: Sequence[Any]) -> Imported:
    """Conversations and judgements from elsewhere as experience of an alias. The same record twice is one episode."""
    if alias in house.models or "@" in alias or "://" in alias:
        raise BadInput(f"{alias[:100]!r} is fixed; only an alias learns", hint="Import into `default`.")
    voice = await house.voices.resolve(tenant, alias)
    episodes = feedback = repeated = skipped = 0
    for record in records:
        found = imports.read(record)
        skipped += not found
        for brought in found:
            episode = _episode(house, tenant, voice.name, voice.base_model, brought)
            if episode is None:
                skipped += 1
                continue
            new = await house.recorder.bring(episode)
            receipts = await react(house, tenant, _aimed(episode, brought))
            episodes, repeated = episodes + new, repeated + (not new)
            feedback += sum(receipt.status == "accepted" for receipt in receipts)
    return Imported(episodes, feedback, repeated, skipped)


def _episode(house: House, tenant: str, alias: str, base_model: str, brought: imports.Brought) -> Episode | None:
    """With the tokens that this model has for it; nobody here sampled them, so there are no log-probabilities."""
    renderer = house.renderers[base_model]
    try:
        prompt = renderer.render(brought.messages)
        room_after(prompt, house.models[base_model])
    except BadInput:
        return None
    choices = tuple(Choice(renderer.answer(text), (), text, "stop") for text in brought.answers)
    return Episode(
        imports.name_of(tenant, alias, brought), tenant, alias, base_model, None, brought.messages, prompt, choices,
        1.0, time.time(), 0.0, brought.session, user=brought.user, origin=brought.source,
    )  # fmt: skip


def _aimed(episode: Episode, brought: imports.Brought) -> list[Any]:
    """With the numbers of answers turned into targets, and an id of their own each."""
    return [
        replace(
            one,
            target=f"{episode.id}:{one.target}",
            value=f"{episode.id}:{one.value}" if one.kind == "comparison" else one.value,
            id=f"{episode.id}:{number}",
        )
        for number, one in enumerate(brought.judgements)
    ]


async def keep_sweeping(house: House) -> None:
    """`sweep` at the start and every ten minutes, until it is cancelled."""
    while True:
        try:
            await house.people.fill()
            await sweep(house)
        except AnubhavError as problem:
            log.warning("what is over could not be removed yet: %s", problem)
        await asyncio.sleep(_SWEEP_SECONDS)


async def sweep(house: House, now: float | None = None) -> int:
    """Let go of all whose time is over by now; returns how many episodes went."""
    count = 0
    while gone := await house.people.expire(now):
        count += len(gone)
        await house.critic.forget([], gone)
        house.heard.forget(gone)
    while await house.memories.expire(now):
        pass
    return count
