"""Sealing: before a lap begins, what it may learn from is parted from what will judge it."""

import hashlib
from dataclasses import dataclass

from anubhav.episodes.recorder import Fresh
from anubhav.flows.house import House
from anubhav.gates.reasks import reask
from anubhav.learning.plan import Plan, make_plan
from anubhav.rewards.signals import Judged, merge
from anubhav.types.experience import Episode, Probe

_HELD_SHARE = 5
"""One rated reply of so many is held back where nobody wrote probes …"""
_HELD_FROM = 20
"""… once there are at least this many."""
TASTE = "target-taste"


@dataclass(frozen=True, slots=True)
class Sealed:
    plan: Plan
    probes: tuple[Probe, ...]
    """What measures this lap's aim; the guard comes on top."""
    position: int


async def seal(house: House, alias: str) -> Sealed:
    """An alias's registered probes judge it; without any, corrections are asked again in other words and some rated
    replies are held back."""
    fresh = await house.recorder.unread(alias)
    registered = await house.probes.of(alias)
    rewards = dict(merge(fresh.feedback))
    held = {} if registered else _hold_back(rewards)
    for judged in held:
        del rewards[judged]

    def answer(episode: Episode, text: str) -> tuple[int, ...]:
        return house.renderers[episode.base_model].answer(text)

    plan = make_plan(fresh.feedback, fresh.older, fresh.episodes, rewards, answer)
    probes = registered or [*_reasked(plan), *_tasted(fresh, held)]
    return Sealed(plan, tuple(probes), fresh.position)


def _hold_back(rewards: dict[Judged, float]) -> dict[Judged, float]:
    """A share of the rated replies, chosen by a hash of the episode, so that a repeated lap seals the same ones."""
    if len(rewards) < _HELD_FROM:
        return {}
    return {
        judged: reward
        for judged, reward in rewards.items()
        if hashlib.sha256(judged[0].encode()).digest()[0] % _HELD_SHARE == 0
    }


def _reasked(plan: Plan) -> list[Probe]:
    return [
        probe
        for example in plan.corrections
        for probe in reask(example.episode.id, example.episode.messages, example.text)
    ]


def _tasted(fresh: Fresh, held: dict[Judged, float]) -> list[Probe]:
    """Liked replies should become likelier and disliked ones less likely: one suite holds both."""
    return [
        Probe(
            f"{name}:{place}",
            TASTE,
            "likelihood" if reward > 0 else "unlikelihood",
            fresh.episodes[name].messages,
            fresh.episodes[name].choices[place].text,
        )
        for (name, place), reward in held.items()
        if reward and name in fresh.episodes
    ]
