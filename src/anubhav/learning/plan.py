"""The plan of a lap: which of the fresh experience teaches what. Each kind of feedback goes to its own algorithm.

corrections  imitation, and a DPO pair over what was said
comparisons  a DPO pair, where both answered one prompt
outcomes     policy gradient on the episode's own tokens
likes        thumbs and ratings: of several answers to one prompt, policy gradient within the group; of a lone one, KTO

Policy gradient takes only what was sampled here as it stands and not too long ago (`onpolicy`); the rest is liked or
disliked as a whole. What a judgement weighs is its giver's trust.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from anubhav.learning.kto import Liking
from anubhav.learning.origins import Origin, Role
from anubhav.learning.policy import Rated
from anubhav.learning.preference import Pair
from anubhav.types.experience import Choice, Episode, Feedback, rater_of, split_target

Answer = Callable[[str], tuple[int, ...]]
"""The tokens of a reply with this text."""
Judged = tuple[str, int]
"""(episode id, choice)"""
_NEUTRAL = 0.05
"""A reward nearer to 0 neither likes nor dislikes."""


@dataclass(frozen=True, slots=True)
class Valued:
    """What is thought of a choice, by those who are believed."""

    reward: float
    weight: float
    feedback: tuple[str, ...]
    measured: bool = False
    """An outcome is in it: a tool or a verifier has looked, not only a person."""


@dataclass(frozen=True, slots=True)
class Example:
    """Something to imitate."""

    episode: Episode
    text: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    weight: float = 1.0
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """Something people asked lately, to be answered anew."""

    episode: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    corrections: tuple[Example, ...]
    replayed: tuple[Example, ...]
    """Earlier corrections: a later repair must not undo them."""
    pairs: tuple[Pair, ...]
    likings: tuple[Liking, ...]
    rated: tuple[Rated, ...]
    left: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why → how many judgements or answers this lap does not learn from."""
    staleness: Mapping[str, float] = field(default_factory=dict[str, float])
    """How old it is what the rest learns from, in laps and seconds."""
    prompts: tuple[Prompt, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.corrections or self.pairs or self.likings or self.rated)


@dataclass(frozen=True, slots=True)
class Material:
    """What a plan is made of."""

    fresh: Sequence[Feedback]
    older: Sequence[Feedback]
    """Newest first."""
    episodes: Mapping[str, Episode]
    weights: Mapping[str, float]
    """By feedback id; what is not here, or 0, is not learned from."""
    values: Mapping[Judged, Valued]
    """Of the choices with likes or outcomes."""
    onpolicy: Callable[[Episode], bool] = lambda episode: episode.as_sampled
    own: Callable[[Episode], bool] = lambda _: False
    """Whether the incumbent said it, at temperature 1."""


def make_plan(material: Material, answer: Answer, longest: int) -> Plan:
    """What is longer than `longest` tokens is left out, as no model could be trained on it."""
    left: Counter[str] = Counter()
    episodes, weights = material.episodes, material.weights
    fresh = [one for one in material.fresh if one.episode in episodes and weights.get(one.id, 0.0) > 0]
    corrections = _examples(fresh, material, answer, longest, "imitated", left)
    known = {example.prompt for example in corrections}
    older = [one for one in reversed(material.older) if weights.get(one.id, 0.0) > 0]
    earlier = _examples(older, material, answer, longest, "replayed", Counter())
    replayed = [one for one in earlier if one.prompt not in known]
    pairs = tuple(_pairs(fresh, corrections, material, left))
    likings, rated = _judged(fresh, material, longest, left)
    return Plan(tuple(corrections), tuple(replayed), pairs, likings, rated, dict(+left))


def _examples(
    feedback: Iterable[Feedback], material: Material, answer: Answer, longest: int, role: Role, left: Counter[str]
) -> list[Example]:
    """One to a prompt."""
    told: dict[tuple[int, ...], dict[str, Feedback]] = {}
    for one in feedback:
        if one.kind == "correction" and one.text and one.episode in material.episodes:
            episode = material.episodes[one.episode]
            # A person's last word on a prompt counts; who is nameless is their tenant.
            name = rater_of(one, episode) or f"of {one.tenant}"
            said = told.setdefault(episode.prompt_tokens, {})
            left["corrected again"] += said.pop(name, None) is not None
            said[name] = one
    chosen = [_agreed(list(said.values()), material.weights) for said in told.values()]
    left["outvoted"] += sum(len(said) for said in told.values()) - sum(len(ones) for ones in chosen)
    found: list[Example] = []
    for ones in chosen:
        episode, text = material.episodes[ones[-1].episode], (ones[-1].text or "").strip()
        weight = min(1.0, sum(material.weights.get(one.id, 1.0) for one in ones))
        origins = tuple(Origin(one.episode, one.choice, one.id, role) for one in ones)
        found.append(Example(episode, text, episode.prompt_tokens, answer(text), weight, origins))
    kept = [one for one in found if len(one.prompt) + len(one.answer) <= longest]
    left["too long"] += len(found) - len(kept)
    return kept


def _agreed(said: Sequence[Feedback], weights: Mapping[str, float]) -> list[Feedback]:
    """Those who gave the last text that at least half as much trust stands behind as behind any other.

    Facts change, so the last word counts; a stranger's alone does not undo what several said.
    """
    texts: dict[str, list[Feedback]] = {}
    for one in said:
        texts.setdefault((one.text or "").strip(), []).append(one)
    trust = {text: sum(weights.get(one.id, 1.0) for one in ones) for text, ones in texts.items()}
    last = {text: max(one.seq for one in ones) for text, ones in texts.items()}
    enough = [text for text in texts if trust[text] >= max(trust.values()) / 2]
    return texts[max(enough, key=last.__getitem__)]


def _pairs(
    fresh: Iterable[Feedback], corrections: Iterable[Example], material: Material, left: Counter[str]
) -> Iterable[Pair]:
    episodes = material.episodes
    by_prompt = {example.prompt: example for example in corrections}
    for one in fresh:
        prompt, said = episodes[one.episode].prompt_tokens, _choice(episodes[one.episode], one.choice).tokens
        weight = material.weights.get(one.id, 1.0)
        example = by_prompt.get(prompt) if one.kind == "correction" else None
        # Whoever meant the same text: their replies were wrong in the same way or another.
        if example and said and (one.text or "").strip() == example.text and said != example.answer:
            yield Pair(prompt, example.answer, said, weight, (Origin(one.episode, one.choice, one.id, "rejected"),))
        if one.kind == "comparison" and one.against:
            name, place = split_target(one.against)
            lost = _choice(episodes[name], place).tokens if name in episodes else ()
            if lost and said and episodes[name].prompt_tokens == prompt:
                won = Origin(one.episode, one.choice, one.id, "preferred")
                yield Pair(prompt, said, lost, weight, (won, Origin(name, place, one.id, "rejected")))
            else:
                left["compared across prompts"] += 1


@dataclass(frozen=True, slots=True)
class _Said:
    episode: Episode
    place: int
    choice: Choice
    value: Valued
    onpolicy: bool
    own: bool

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.episode.prompt_tokens

    def origins(self, role: Role) -> tuple[Origin, ...]:
        return tuple(Origin(self.episode.id, self.place, name, role) for name in self.value.feedback)


def _judged(
    fresh: Sequence[Feedback], material: Material, longest: int, left: Counter[str]
) -> tuple[tuple[Liking, ...], tuple[Rated, ...]]:
    corrected = {(one.episode, one.choice) for one in fresh if one.kind == "correction"}
    found = list(_said(material, corrected, longest, left))
    groups: defaultdict[tuple[int, ...], set[tuple[int, ...]]] = defaultdict(set)
    for one in found:
        if one.onpolicy:
            groups[one.prompt].add(one.choice.tokens)
    # Eight samples that are all the same are a group that agrees, not eight likes: as likes they go far for nothing.
    sampled = Counter(one.episode.id for one in found if one.onpolicy)

    def in_group(one: _Said) -> bool:
        return one.value.measured or len(groups[one.prompt]) > 1 or sampled[one.episode.id] > 1

    reinforced = [one for one in found if one.onpolicy and in_group(one)]
    judged = {(one.episode.id, one.place) for one in reinforced}
    liked = [one for one in found if (one.episode.id, one.place) not in judged]
    clear = [one for one in liked if abs(one.value.reward) >= _NEUTRAL]
    left["neutral"] += len(liked) - len(clear)
    return tuple(map(_liking, clear)), tuple(map(_rated, reinforced))


def _said(material: Material, corrected: Collection[Judged], longest: int, left: Counter[str]) -> Iterable[_Said]:
    for (name, place), value in material.values.items():
        if (name, place) in corrected or name not in material.episodes:
            continue
        episode = material.episodes[name]
        choice = _choice(episode, place)
        if choice.tokens and len(episode.prompt_tokens) + len(choice.tokens) <= longest:
            yield _Said(episode, place, choice, value, material.onpolicy(episode), material.own(episode))
        else:
            left["empty or too long"] += 1


def _rated(one: _Said) -> Rated:
    logprobs = one.choice.logprobs if len(one.choice.logprobs) == len(one.choice.tokens) else ()
    value, origins = one.value, one.origins("reinforced")
    return Rated(one.prompt, one.choice.tokens, value.reward, value.weight, logprobs, own=one.own, origins=origins)


def _liking(one: _Said) -> Liking:
    good = one.value.reward > 0
    weight = abs(one.value.reward) * one.value.weight
    return Liking(one.prompt, one.choice.tokens, good, weight, one.origins("liked" if good else "disliked"))


def _choice(episode: Episode, place: int) -> Choice:
    return episode.choices[place]
