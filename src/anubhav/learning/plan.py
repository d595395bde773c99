"""The plan of a lap: which of the fresh experience teaches what. Each kind of feedback goes to its own algorithm."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from anubhav.learning.policy import Rated
from anubhav.learning.preference import Pair
from anubhav.types.experience import Choice, Episode, Feedback, split_target

Answer = Callable[[str], tuple[int, ...]]
"""The tokens of a reply with this text."""


@dataclass(frozen=True, slots=True)
class Example:
    """Something to imitate."""

    episode: Episode
    text: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    corrections: tuple[Example, ...]
    replayed: tuple[Example, ...]
    """Earlier corrections: a later repair must not undo them."""
    pairs: tuple[Pair, ...]
    rated: tuple[Rated, ...]

    @property
    def empty(self) -> bool:
        return not (self.corrections or self.pairs or self.rated)


def make_plan(
    fresh: Iterable[Feedback],
    older: Iterable[Feedback],
    episodes: Mapping[str, Episode],
    rewards: Mapping[tuple[str, int], float],
    answer: Answer,
    longest: int,
) -> Plan:
    """`rewards` by (episode, choice), as the rewards room merged them; `older` newest first.

    What is longer than `longest` tokens is left out, as no model could be trained on it.
    """
    fresh = [one for one in fresh if one.episode in episodes]
    corrections = _examples(fresh, episodes, answer, longest)
    known = {example.prompt for example in corrections}
    earlier = _examples(reversed(list(older)), episodes, answer, longest)
    replayed = [one for one in earlier if one.prompt not in known]
    corrected = {(one.episode, one.choice) for one in fresh if one.kind == "correction"}
    rated = [
        Rated(episodes[name].prompt_tokens, choice.tokens, reward)
        for (name, place), reward in rewards.items()
        if (name, place) not in corrected and name in episodes and (choice := _choice(episodes[name], place)).tokens
    ]
    return Plan(tuple(corrections), tuple(replayed), tuple(_pairs(fresh, corrections, episodes)), tuple(rated))


def _examples(
    feedback: Iterable[Feedback], episodes: Mapping[str, Episode], answer: Answer, longest: int
) -> list[Example]:
    """The last correction of each prompt counts."""
    found: dict[tuple[int, ...], Example] = {}
    for one in feedback:
        if one.kind == "correction" and one.text and one.episode in episodes:
            episode = episodes[one.episode]
            text = one.text.strip()
            found[episode.prompt_tokens] = Example(episode, text, episode.prompt_tokens, answer(text))
    return [one for one in found.values() if len(one.prompt) + len(one.answer) <= longest]


def _pairs(
    fresh: Iterable[Feedback], corrections: Iterable[Example], episodes: Mapping[str, Episode]
) -> Iterable[Pair]:
    by_episode = {example.episode.id: example for example in corrections}
    for one in fresh:
        said = _choice(episodes[one.episode], one.choice).tokens
        if one.kind == "correction" and (example := by_episode.get(one.episode)) and said != example.answer:
            yield Pair(example.prompt, example.answer, said)
        if one.kind == "comparison" and one.against:
            name, place = split_target(one.against)
            if name in episodes and episodes[name].prompt_tokens == episodes[one.episode].prompt_tokens:
                yield Pair(episodes[one.episode].prompt_tokens, said, _choice(episodes[name], place).tokens)


def _choice(episode: Episode, place: int) -> Choice:
    return episode.choices[place]
