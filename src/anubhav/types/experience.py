"""Experience: what was said (episodes), what people thought of it (feedback), and what a lap made of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from anubhav.types.chat import Message

FeedbackKind = Literal["thumb", "rating", "correction", "comparison", "outcome"]
Source = Literal["person", "implied", "judge"]
"""Who says so: a person or their program, what the person did next, or a model that was asked."""
Turn = Literal["main", "side"]
"""Side turns (titles, summaries) are recorded and never trained on."""
Arm = Literal["stable", "canary", "holdback", "asked", "shadow"]
"""Which of an alias's voices answered: the release, the candidate on trial, the frozen base it is compared with, or
whatever the request named itself (`default@stable`), which is compared with nothing. In the shadow the candidate
answers what the release was asked, and nobody hears it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the n answers of an episode, exactly as the policy produced it."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the temperature-scaled policy that sampled the tokens; empty where they were not sampled here as they are."""
    text: str
    stop_reason: str


@dataclass(frozen=True, slots=True)
class Episode:
    """One recorded answer. Its id is the id of the reply the client saw."""

    id: str
    tenant: str
    alias: str
    """The alias without its `@stable`; or the path or base model that was asked for."""
    base_model: str
    adapter: str | None
    """Content hash of the adapter that spoke; None is the base model."""
    messages: tuple[Message, ...]
    prompt_tokens: tuple[int, ...]
    choices: tuple[Choice, ...]
    temperature: float
    created_at: float
    seconds: float
    session: str | None = None
    seq: int = 0
    """Position in the store's order of arrival; cursors count in it."""
    user: str | None = None
    """Who talked, as their application names them."""
    turn: Turn = "main"
    arm: Arm = "stable"
    trainable: bool = True
    """False where consent is missing."""
    redacted: bool = False
    """Something was taken out: what is kept is not what was sampled, so it is never reinforced token by token."""
    waited: float | None = None
    """Seconds until the first word."""
    origin: str | None = None
    """Where it was imported from; None for what was said here."""
    memory: str | None = None
    """`<id>@<version>` of the memory in its prompt; `messages` are then as they stood there."""

    @property
    def as_sampled(self) -> bool:
        """What is kept is what a policy of ours sampled, token for token, with its log-probabilities."""
        whole = all(len(choice.logprobs) == len(choice.tokens) for choice in self.choices)
        return whole and not self.redacted and self.origin is None


@dataclass(frozen=True, slots=True)
class Feedback:
    """A judgement on one choice of one episode, kept as it was given.

    thumb: value 1 (up) or 0 (down). rating: value in 0..1. correction: text is what should have been said.
    comparison: `against` is the target that lost to this one. outcome: value in 0..1, text names the outcome.
    """

    id: str
    tenant: str
    episode: str
    choice: int
    kind: FeedbackKind
    created_at: float
    value: float | None = None
    text: str | None = None
    against: str | None = None
    """The losing target of a comparison, `<episode>` or `<episode>:<choice>`."""
    rater: str | None = None
    seq: int = 0
    source: Source = "person"
    session: str | None = None
    """Given to a whole session: `episode` was its last main reply then."""
    tags: tuple[str, ...] = ()
    """Short words of the rater's own, for people: nothing is learned from them."""


def rater_of(feedback: Feedback, episode: Episode) -> str | None:
    """Whose judgement it counts as: who is named, else the episode's user, else its session; None is nobody known."""
    return feedback.rater or episode.user or (f"session:{episode.session}" if episode.session else None)


def split_target(target: str) -> tuple[str, int]:
    """`ep_…` or `ep_…:2` → (episode id, choice index). A malformed index stays in the id, where nothing matches."""
    episode, _, choice = target.partition(":")
    return (episode, int(choice)) if choice.isdecimal() and len(choice) < 4 else (target, 0)


@dataclass(frozen=True, slots=True)
class Probe:
    """A sealed test item: no candidate is ever trained on it.

    `exact`: the probability, at temperature 1, of a reply that is `expected` and nothing else. `contains`: whether the
    greedy reply holds `expected` (case and spaces folded; digits not inside a longer number). `likelihood`: mean
    log-probability of a token of `expected` given the messages; `unlikelihood` is its negative. `recalled`: 1 where a
    token of `expected` has chance one half (geometric mean), or a short `expected` is contained; else 0. `prefers`: the
    chance of `expected` against `rejected`, by the mean log-probability of their tokens.
    """

    id: str
    suite: str
    """`target` suites must improve, `guard` suites must not get worse; the name begins with one or the other."""
    check: Literal["exact", "contains", "likelihood", "unlikelihood", "recalled", "prefers"]
    messages: tuple[Message, ...]
    expected: str
    alias: str = ""
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """A probe's score under both policies, with what they said."""

    probe: str
    suite: str
    incumbent: float
    candidate: float
    incumbent_text: str = ""
    candidate_text: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A suite's paired difference, candidate minus incumbent, with a 95 % bootstrap interval."""

    suite: str
    n: int
    incumbent: float
    candidate: float
    difference: float
    low: float
    high: float
    test: Literal["", "gain", "harm"] = ""
    p: float = 1.0
    """One-sided, of this suite alone."""
    corrected: float = 1.0
    """By Holm, beside the verdict's other suites; `harm` is that of having got worse."""
    harm: float = 1.0
    margin: float = 0.0
    """How much a guard may fall."""
    outcome: Literal["pass", "fail", "inconclusive"] = "inconclusive"
    held: int = 0
    """Repairs that the incumbent answers, and how many of them the candidate lost."""
    lost: int = 0
    effect: float | None = None
    """The difference in standard deviations of the items' differences; None where all are equal."""


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Literal["pass", "fail", "inconclusive"]
    reason: str
    comparisons: tuple[Comparison, ...]
    scores: tuple[Score, ...] = ()
    level: float = 0.0
    """What gains were tested at, given the alias's laps before."""
    notes: tuple[str, ...] = ()
    """What was not judged, and why."""


@dataclass(frozen=True, slots=True)
class Release:
    """One change of what an alias answers with. `path` None is the bare base model."""

    id: str
    alias: str
    path: str | None
    adapter: str | None
    action: Literal["promote", "discard", "rollback", "try"]
    who: str
    why: str
    created_at: float
    lap: str | None = None
    verdict: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Lap:
    """One turn of the learning loop, as the console and `anubhav lap` show it."""

    id: str
    alias: str
    state: Literal["running", "paused", "done", "failed", "cancelled", "interrupted"]
    phase: str
    started_at: float
    finished_at: float | None = None
    report: Mapping[str, object] = field(default_factory=dict[str, object])
    """Counts of feedback used, steps, losses, seconds by phase, the verdict's summary, the release."""
