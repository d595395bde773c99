"""The judge that no candidate was trained against: the audit critic, fitted on held-out raters only, compares the
replies of incumbent and candidate to recent prompts that are held out of every lap.

It counts only where it agrees often enough with the other raters, whom it never heard.
"""

import asyncio
from collections.abc import Sequence

from anubhav.errors import AnubhavError
from anubhav.flows.house import House
from anubhav.flows.probing import hear
from anubhav.flows.sealing import Sealed
from anubhav.gates.heldout import is_held_out
from anubhav.serving.voices import Voice
from anubhav.types.experience import Episode, Score

SUITE = "judge-audit"
_PROMPTS, _LONGEST, _ASKED = 16, 48, 200
_CHECKED, _ACCURACY = 20, 0.6
"""Judgements its word is compared with, at least, and how often they must agree."""


async def audit(
    house: House, alias: str, sealed: Sealed, incumbent: Voice, candidate: Voice
) -> tuple[list[Score], list[str]]:
    """Scores, or why there are none."""
    try:
        if not await house.critic.audit.ready(alias):
            return [], [f"{SUITE}: not judged, held-out raters have said too little"]
        agreed, count = await _accuracy(house, alias, incumbent.base_model)
        if count < _CHECKED or agreed < _ACCURACY * count:
            return [], [f"{SUITE}: not judged, it agrees with {agreed} of {count} judgements of raters it never heard"]
        prompts = await _prompts(house, alias, sealed, incumbent)
        if not prompts:
            return [], [f"{SUITE}: not judged, none of the last {_ASKED} prompts is held out"]
        return await _compare(house, alias, prompts, incumbent, candidate), []
    except AnubhavError as problem:
        return [], [f"{SUITE}: not judged, {problem.message}"]


async def _prompts(house: House, alias: str, sealed: Sealed, voice: Voice) -> list[Episode]:
    """Held-out prompts, newest last, each once; none that a correction or a rating of this lap was about."""
    plan = sealed.plan
    parts = (*plan.corrections, *plan.pairs, *plan.likings, *plan.rated)
    taught = {one.episode for each in parts for one in each.origins}
    asked = [one for one in await house.recorder.asked(alias, _ASKED) if one.base_model == voice.base_model]
    learned = {one.prompt_tokens for one in asked if one.id in taught}
    found = {
        one.prompt_tokens: one
        for one in reversed(asked)
        if one.prompt_tokens not in learned and is_held_out(one.prompt_tokens) and not one.redacted
    }
    return [one for tokens, one in found.items() if tokens][-_PROMPTS:]


async def _compare(
    house: House, alias: str, prompts: Sequence[Episode], incumbent: Voice, candidate: Voice
) -> list[Score]:
    async def answers(voice: Voice) -> list[tuple[int, ...]]:
        heard = [hear(house, voice, one.prompt_tokens, _LONGEST) for one in prompts]
        return list(await asyncio.gather(*heard))

    decode = house.renderers[incumbent.base_model].decode
    before, after = await answers(incumbent), await answers(candidate)
    items = [(one.prompt_tokens, answer) for said in (before, after) for one, answer in zip(prompts, said, strict=True)]
    marks = await house.critic.audit.score(alias, incumbent.base_model, items)
    return [
        Score(f"{one.id}:audit", SUITE, old.mean, new.mean, decode(was), decode(now))
        for one, old, new, was, now in zip(prompts, marks, marks[len(prompts) :], before, after, strict=False)
    ]


async def _accuracy(house: House, alias: str, base_model: str) -> tuple[int, int]:
    """On thumbs and ratings of raters who are not held out: how many it agrees with, of how many."""
    said = [
        (episode, one)
        for episode, given in await house.recorder.recent(_ASKED, None)
        if episode.alias == alias and episode.base_model == base_model
        for one in given
        if one.kind in ("thumb", "rating") and one.value not in (None, 0.5) and one.choice < len(episode.choices)
    ]
    # Whoever is held out, or quarantined, weighs nothing.
    weights = await house.trust.weigh(alias, [one for _, one in said])
    said = [(episode, one) for episode, one in said if one.source == "person" and weights[one.id] > 0]
    items = [(episode.prompt_tokens, episode.choices[one.choice].tokens) for episode, one in said]
    wanted = [one.value or 0.0 for _, one in said]
    if not items:
        return 0, 0
    marks = await house.critic.audit.score(alias, base_model, items)
    return sum((mark.mean > 0) == (value > 0.5) for mark, value in zip(marks, wanted, strict=True)), len(items)
