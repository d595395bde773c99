"""Sealing: before a lap begins, what it may learn from is parted from what will judge it."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from anubhav.episodes.recorder import Fresh
from anubhav.flows.believing import age_in_laps, believe, staleness
from anubhav.flows.house import House
from anubhav.gates.heldout import is_held_out
from anubhav.gates.reasks import reask
from anubhav.learning.plan import Judged, Material, Plan, Prompt, Valued, make_plan
from anubhav.learning.presets import STALEST
from anubhav.serving.voices import Voice
from anubhav.types.experience import Episode, Probe

_HELD_SHARE = 5
"""One rated episode of so many is held back where nobody wrote probes …"""
_HELD_FROM = 20
"""… once there are at least this many."""
_ASKED = 256
"""Replies that are looked at for prompts to answer anew."""
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
    believed = await believe(house, alias, fresh)
    held = {} if registered else _hold_back(fresh, believed.values)
    taught = {judged: value for judged, value in believed.values.items() if judged[0] not in held}
    renderer, model = house.renderers[incumbent.base_model], house.models[incumbent.base_model]

    def answer(text: str) -> tuple[int, ...]:
        return renderer.answer(text)

    def onpolicy(episode: Episode) -> bool:
        age = age_in_laps(episode, standing)
        return episode.as_sampled and age is not None and age <= STALEST

    def own(episode: Episode) -> bool:
        return episode.as_sampled and episode.temperature == 1.0 and episode.adapter == incumbent.adapter

    kept = [one for one in fresh.feedback if one.episode in spoken]
    material = Material(
        kept, [one for one in fresh.older if one.episode in spoken], spoken, believed.weights, taught, onpolicy, own
    )
    plan = make_plan(material, answer, model.context_length)
    probes = registered or [*_reasked(plan), *_tasted(held)]
    left = {
        **fresh.left, **believed.left, **plan.left, "another model's": len(fresh.feedback) - len(kept),
        "held back to judge": sum(len(rewards) for _, rewards in held.values()),
    }  # fmt: skip
    old = {
        **staleness(_used(plan, spoken), standing, time.time()),
        "too_old_to_reinforce": float(len(_too_old(taught, spoken, onpolicy))),
    }
    plan = replace(
        plan,
        left={why: count for why, count in left.items() if count},
        staleness=old,
        prompts=await _asked(house, alias, incumbent, probes, held),
    )
    return Sealed(plan, tuple(probes), fresh.span, fresh.full)


async def _asked(
    house: House, alias: str, incumbent: Voice, probes: Sequence[Probe], held: Collection[str]
) -> tuple[Prompt, ...]:
    """What people asked lately, each once, newest first; nothing that a probe asks, as a candidate may not see it."""
    sealed = {probe.messages for probe in probes}
    found: dict[tuple[int, ...], Prompt] = {}
    for episode in await house.recorder.asked(alias, _ASKED):
        ours = episode.base_model == incumbent.base_model and episode.prompt_tokens and not episode.redacted
        apart = is_held_out(episode.prompt_tokens)
        if ours and not apart and episode.id not in held and episode.messages not in sealed:
            found.setdefault(episode.prompt_tokens, Prompt(episode.id, episode.prompt_tokens))
    return tuple(found.values())


def _too_old(
    judged: Iterable[Judged], episodes: Mapping[str, Episode], onpolicy: Callable[[Episode], bool]
) -> set[str]:
    """Episodes that their age alone keeps from being reinforced."""
    found = {name for name, _ in judged if name in episodes}
    return {name for name in found if episodes[name].as_sampled and not onpolicy(episodes[name])}


def _used(plan: Plan, episodes: Mapping[str, Episode]) -> list[Episode]:
    """Episodes whose fresh judgements are learned from."""
    taught = (*plan.corrections, *plan.pairs, *plan.likings, *plan.rated)
    names = {origin.episode for one in taught for origin in one.origins}
    return [episodes[name] for name in sorted(names) if name in episodes]


def _hold_back(fresh: Fresh, values: Mapping[Judged, Valued]) -> dict[str, tuple[Episode, dict[int, float]]]:
    """A share of the rated episodes, chosen by a hash of the id, so that a repeated lap seals the same ones."""
    taught = {one.episode for one in fresh.feedback if one.kind in ("correction", "comparison")}
    taught |= {(one.against or "").partition(":")[0] for one in fresh.feedback}
    rated: dict[str, dict[int, float]] = {}
    for (name, place), value in values.items():
        if name in fresh.episodes and name not in taught:
            rated.setdefault(name, {})[place] = value.reward
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
