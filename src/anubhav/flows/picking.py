"""Picking: which answers are worth a person's judgement. Those complained about come first, then those that raters
disagree on or that the reward model is least sure of, and every fifth by chance, so that nothing is never looked at.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from anubhav.flows.house import House
from anubhav.types.chat import Message
from anubhav.types.experience import Episode, Feedback

Why = Literal["complaint", "disagreement", "uncertainty", "audit"]
_LOOKED_AT = 300
_APPRAISED = 24
"""Answers the reward model is asked about: one it did not read yet costs a pass of the base model."""
_TURNS: tuple[tuple[Why, ...], ...] = (
    ("complaint",), ("disagreement", "uncertainty"), ("complaint",), ("uncertainty", "disagreement"), ("audit",),
)  # fmt: skip
_ORDER: tuple[Why, ...] = ("complaint", "disagreement", "uncertainty", "audit")

Judged = tuple[Episode, list[Feedback]]


@dataclass(frozen=True, slots=True)
class Answer:
    target: str
    """What feedback on it names."""
    text: str


@dataclass(frozen=True, slots=True)
class Picked:
    """One answer, or two to the same question in an order that says nothing."""

    id: str
    alias: str
    messages: tuple[Message, ...]
    answers: tuple[Answer, ...]
    why: Why
    detail: str = ""


async def pick(house: House, tenant: str, alias: str, rater: str, limit: int) -> list[Picked]:
    """Of the last answers of the tenant, those that this rater did not judge yet."""
    found = await house.conversations.reviewable(tenant, alias, _LOOKED_AT)
    done = {name for _, given in found for one in given if one.rater == rater for name in _about(one)}
    pairs, paired = _pairs(found, rater)
    singles = [_single(one, given) for one, given in found if one.id not in paired and one.choices]
    picked = [one for one in (*pairs, *singles) if not done & {answer.target for answer in one.answers}]
    return list(islice(_mixed(await _weighed(house, alias, picked, found)), limit))


def _about(one: Feedback) -> tuple[str, ...]:
    return f"{one.episode}:{one.choice}", one.against or ""


def _pairs(found: Sequence[Judged], rater: str) -> tuple[list[Picked], set[str]]:
    """Two answers that differ, of one reply or of two replies to the same prompt."""
    asked: defaultdict[tuple[int, ...], list[tuple[Episode, Answer, list[Feedback]]]] = defaultdict(list)
    for episode, given in found:
        for place, choice in enumerate(episode.choices):
            answer = Answer(f"{episode.id}:{place}", choice.text)
            others = asked[episode.prompt_tokens]
            if episode.prompt_tokens and all(answer.text != other.text for _, other, _ in others):
                others.append((episode, answer, given))
    pairs: list[Picked] = []
    paired: set[str] = set()
    for (one, first, said), (other, second, also) in (group[:2] for group in asked.values() if len(group) > 1):
        pair = _of(f"{first.target}+{second.target}", one, (first, second), [*said, *also])
        pairs.append(replace(pair, answers=pair.answers[:: 1 if _draw(pair.id, rater) % 2 else -1]))
        paired |= {one.id, other.id}
    return pairs, paired


def _single(episode: Episode, given: Sequence[Feedback]) -> Picked:
    target = f"{episode.id}:0"
    return _of(target, episode, (Answer(target, episode.choices[0].text),), given)


def _of(name: str, episode: Episode, answers: tuple[Answer, ...], given: Sequence[Feedback]) -> Picked:
    said = {one.id: one for one in given if one.source == "person"}.values()
    marks = [one.value for one in said if one.kind in ("thumb", "rating") and one.value is not None]
    down, up = sum(mark < 0.5 for mark in marks), sum(mark > 0.5 for mark in marks)
    why: Why = "audit"
    if down and up:
        why = "disagreement"
    elif down and not any(one.kind == "correction" for one in said):
        why = "complaint"
    detail = f"{up} for it, {down} against it" if down else ""
    return Picked(name, episode.alias, episode.messages, answers, why, detail)


async def _weighed(house: House, alias: str, picked: Sequence[Picked], found: Sequence[Judged]) -> list[Picked]:
    """With those that the reward model knows least of told apart."""
    episodes = {one.id: one for one, _ in found}
    open_ones = [one for one in picked if one.why == "audit"][:_APPRAISED]
    answers = [_place(answer, episodes) for one in open_ones for answer in one.answers]
    known = iter(await house.critic.appraise(alias, answers))
    doubts: dict[str, float] = {}
    for one in open_ones:
        sure = [estimate for estimate in islice(known, len(one.answers)) if estimate]
        if len(sure) == len(one.answers):
            means = [estimate.mean for estimate in sure]
            away = abs(means[0] - means[-1]) if len(means) > 1 else abs(means[0])
            doubts[one.id] = away / max(1e-6, max(estimate.deviation for estimate in sure))
    # The clearer half is left to chance.
    doubtful = sorted(doubts, key=lambda name: doubts[name])[: (len(doubts) + 1) // 2]
    return [replace(one, why="uncertainty") if one.id in doubtful else one for one in picked]


def _place(answer: Answer, episodes: dict[str, Episode]) -> tuple[Episode, int]:
    name, _, place = answer.target.partition(":")
    return episodes[name], int(place)


def _mixed(picked: Sequence[Picked]) -> Iterable[Picked]:
    """In turns, each with what there is when its own kind is used up."""
    heaps = {why: [one for one in picked if one.why == why] for why in _ORDER}
    heaps["audit"].sort(key=lambda one: _draw(one.id, "audit"))
    turn = 0
    while any(heaps.values()):
        wanted = next(why for why in (*_TURNS[turn % len(_TURNS)], *_ORDER) if heaps[why])
        yield heaps[wanted].pop(0)
        turn += 1


def _draw(name: str, salt: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{salt}\n{name}".encode(), digest_size=8).digest(), "big")
