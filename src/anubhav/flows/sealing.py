"""Sealing: before a lap begins, what it may learn from is parted from what will judge it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from anubhav.episodes.recorder import Fresh
from anubhav.flows.house import House
from anubhav.gates.reasks import reask
from anubhav.learning.plan import Plan, make_plan
from anubhav.rewards.signals import Judged, merge
from anubhav.serving.voices import Voice
from anubhav.types.experience import Episode, Probe

_HELD_SHARE = 5
"""One rated episode of so many is held back where nobody wrote probes …"""
_HELD_FROM = 20
"""… once there are at least this many."""
TASTE = "target-taste"


@dataclass(frozen=True, slots=True)
class Sealed:
    plan: Plan
    probes: tuple[Probe, ...]
    """What measures this lap's aim; the guard comes on top."""
    span: tuple[int, int]
    full: bool


async def seal(house: House, alias: str, incumbent: Voice) -> Sealed:
    """An alias's registered probes judge it; without any, corrections are asked again in other words and some rated
    replies are held back. What is replayed is what the incumbent was taught, not what was refused or rolled back."""
    standing = await house.register.standing(alias)
    fresh = await house.recorder.unread(alias, [release.lap for release in standing if release.lap])
    # Another base model's token ids mean nothing to this one.
    spoken = {name: one for name, one in fresh.episodes.items() if one.base_model == incumbent.base_model}
    fresh = replace(fresh, episodes=spoken)
    registered = await house.probes.of(alias)
    rewards = merge(fresh.feedback)
    held = {} if registered else _hold_back(fresh, rewards)
    taught = {judged: reward for judged, reward in rewards.items() if judged[0] not in held}
    renderer, model = house.renderers[incumbent.base_model], house.models[incumbent.base_model]

    def answer(text: str) -> tuple[int, ...]:
        return renderer.answer(text)

    plan = make_plan(fresh.feedback, fresh.older, spoken, taught, answer, model.context_length)
    probes = registered or [*_reasked(plan), *_tasted(held)]
    return Sealed(plan, tuple(probes), fresh.span, fresh.full)


def _hold_back(fresh: Fresh, rewards: Mapping[Judged, float]) -> dict[str, tuple[Episode, dict[int, float]]]:
    """A share of the rated episodes, chosen by a hash of the id, so that a repeated lap seals the same ones."""
    taught = {one.episode for one in fresh.feedback if one.kind in ("correction", "comparison")}
    taught |= {(one.against or "").partition(":")[0] for one in fresh.feedback}
    rated: dict[str, dict[int, float]] = {}
    for (name, place), reward in rewards.items():
        if name in fresh.episodes and name not in taught:
            rated.setdefault(name, {})[place] = reward
    if len(rated) < _HELD_FROM:
        return {}
    return {
        name: (fresh.episodes[name], found)
        for name, found in rated.items()
        if hashlib.sha256(name.encode()).digest()[0] % _HELD_SHARE == 0
    }


def _reasked(plan: Plan) -> list[Probe]:
    return [
        probe
        for example in plan.corrections
        for probe in reask(example.episode.id, example.episode.messages, example.text)
    ]


def _tasted(held: Mapping[str, tuple[Episode, dict[int, float]]]) -> Iterable[Probe]:
    """Liked replies should become likelier and disliked ones less likely: one suite holds both.

    At most the best and the worst reply of an episode, as answers to one prompt move together.
    """
    for episode, rewards in held.values():
        for place in {max(rewards, key=rewards.__getitem__), min(rewards, key=rewards.__getitem__)}:
            if rewards[place]:
                check = "likelihood" if rewards[place] > 0 else "unlikelihood"
                text = episode.choices[place].text
                yield Probe(f"{episode.id}:{place}", TASTE, check, episode.messages, text)
