"""Overview: what answers now, whether it learns, what the last day brought, and what waits for a person."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from anubhav.episodes.recorder import STAGE
from anubhav.flows.house import House
from anubhav.flows.trying import Lift, measure_lift
from anubhav.releases.laps import WHY
from anubhav.releases.trials import SHADOW, describe
from anubhav.types.experience import Lap, Release
from anubhav.types.looking import Activity, Hold
from anubhav.types.releases import Trial
from anubhav.types.schedules import Schedule

DAY = 86_400.0
_ALIASES = 50
_LAPS = 20


@dataclass(frozen=True, slots=True)
class Answering:
    """What an alias answers with now."""

    alias: str
    base_model: str
    """What it speaks as while nothing is released to it."""
    release: Release | None
    trial: Trial | None
    percent: int
    """Of the people who hear the candidate on trial."""


@dataclass(frozen=True, slots=True)
class Learning:
    state: Literal["paused", "running", "scheduled", "by hand"]
    hold: Hold | None
    laps: tuple[Lap, ...]
    """Those under way."""
    schedules: dict[str, Schedule]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for a person."""

    what: Literal["candidate", "refused", "failed", "paused", "alarm", "unread"]
    subject: str
    """The alias."""
    text: str
    lap: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """How far the first run came."""

    asked: bool
    judged: bool
    learned: bool
    released: bool
    shared: bool
    """Others than operators have a key."""


@dataclass(frozen=True, slots=True)
class Overview:
    answering: tuple[Answering, ...]
    learning: Learning
    day: Activity
    lifts: tuple[Lift, ...]
    needs: tuple[Need, ...]
    started: Started


async def answering(house: House) -> tuple[Answering, ...]:
    """The aliases, those first to which something was released."""
    names = [name for name in await house.voices.names() if name not in house.models]
    found = [await _answering(house, alias) for alias in names[:_ALIASES]]
    return tuple(sorted(found, key=lambda one: (one.release is None, one.alias != "default")))


async def learning(house: House) -> Learning:
    hold, laps, schedules = await house.holds.standing(), tuple(house.laps.open_now), await house.schedules.all()
    state = "paused" if hold else "running" if laps else "scheduled" if schedules else "by hand"
    return Learning(state, hold, laps, schedules)


async def overview(house: House) -> Overview:
    aliases, laps = await answering(house), await house.laps.recent(limit=_LAPS)
    now = time.time()
    lifts = [await measure_lift(house, one.alias) for one in aliases if one.release]
    day = await house.conversations.since(now - DAY)
    asked, judged, shared = await house.conversations.begun()
    started = Started(
        asked,
        judged,
        any(lap.state == "done" for lap in laps),
        any(one.release or one.trial for one in aliases),
        shared,
    )
    needs = await _needs(house, aliases, laps, now)
    return Overview(aliases, await learning(house), day, tuple(lifts), tuple(needs), started)


async def _answering(house: House, alias: str) -> Answering:
    release, trial = await house.register.current(alias), await house.trials.running(alias)
    shown = describe(trial, await house.trials.policy(alias)) if trial else {}
    percent = shown.get("percent")
    return Answering(alias, next(iter(house.models)), release, trial, percent if isinstance(percent, int) else 0)


async def _needs(house: House, aliases: Sequence[Answering], laps: Sequence[Lap], now: float) -> list[Need]:
    found: list[Need] = []
    for one in aliases:
        if one.trial:
            stage = "in the shadow, unheard" if one.trial.step == SHADOW else f"heard by {one.percent} % of the people"
            found.append(Need("candidate", one.alias, f"A candidate is tried out, {stage}", one.trial.lap))
        alarms = (await house.watch.glance(one.alias))[0].alarms
        found += [Need("alarm", one.alias, f"The reward model rings about {alarm.name}") for alarm in alarms]
        last = next((lap for lap in laps if lap.alias == one.alias), None)
        found += _of_lap(last, now) if last else []
        unread = (await house.schedules.standing(STAGE, one.alias))[0]
        if unread and not any(lap.alias == one.alias for lap in house.laps.open_now):
            found.append(Need("unread", one.alias, f"{unread} judgements wait to be learned from"))
    return found


def _of_lap(lap: Lap, now: float) -> list[Need]:
    """Of the newest lap, unless it is old."""
    if now - (lap.finished_at or now) > 7 * DAY:
        return []
    if lap.state == "failed":
        return [Need("failed", lap.alias, str(lap.report.get("failure", "The lap failed")), lap.id)]
    if lap.state == "paused" and WHY in lap.report:
        return [Need("paused", lap.alias, str(lap.report[WHY]), lap.id)]
    match lap.report.get("verdict"):
        case {"outcome": "fail", "reason": str(reason)}:
            return [Need("refused", lap.alias, f"The candidate was refused: {reason}", lap.id)]
        case {"outcome": "inconclusive", "reason": str(reason)}:
            return [Need("refused", lap.alias, f"The candidate was held back: {reason}", lap.id)]
        case _:
            return []
