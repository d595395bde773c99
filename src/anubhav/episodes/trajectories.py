"""Trajectories: the replies of a session joined into token-exact sequences, by longest exact prefix.

A reply goes on a trajectory when its prompt begins with exactly the tokens that the trajectory has so far, sampled
tokens included. Where a template rendered an earlier answer into other tokens, or a turn was asked again, a new
trajectory begins, so that no token ever stands where no policy saw it. What was sampled is in one trajectory alone:
a branch takes what it shares with another as context.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.types.chat import Role
from anubhav.types.experience import Episode

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Some tokens that came together."""

    role: Role
    """Of an answer: assistant. Of what was read before it: the role of the last message in it."""
    tokens: Tokens
    logprobs: tuple[float, ...] = ()
    """One to each token where they are those of the policy that sampled them; empty otherwise."""
    episode: str | None = None
    """The reply that this span is the answer of; None for what was only read."""
    choice: int = 0
    adapter: str | None = None
    """The version that said it; None is the base model, and context."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    base_model: str
    spans: tuple[Span, ...]

    @property
    def tokens(self) -> Tokens:
        return tuple(token for span in self.spans for token in span.tokens)


@dataclass(frozen=True, slots=True)
class Cost:
    replies: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """What the replies took, added up."""
    waited: float | None
    """Mean seconds until the first word, where it is known."""
    elapsed: float
    """From the first question to the last answer."""


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    trajectories: tuple[Trajectory, ...]
    side: tuple[str, ...]
    """The replies that were side turns."""
    cost: Cost
    """Of main and side turns together."""


@dataclass(slots=True)
class _Branch:
    base_model: str
    spans: list[Span]
    tokens: Tokens


def join(session: str, episodes: Sequence[Episode]) -> Session:
    """`episodes`: all of the session, oldest first."""
    branches: list[_Branch] = []
    for episode in episodes:
        if episode.turn == "main":
            _enter(branches, episode)
    found = tuple(Trajectory(branch.base_model, tuple(branch.spans)) for branch in branches)
    side = tuple(episode.id for episode in episodes if episode.turn == "side")
    return Session(session, found, side, _cost(episodes))


def _enter(branches: list[_Branch], episode: Episode) -> None:
    """Every choice ends a branch of its own: the first goes on the parent, if that ended where the prompt begins."""
    parent, shared = _parent(branches, episode)
    free = parent is not None and shared == len(parent.tokens)
    last: Role = episode.messages[-1].role if episode.messages else "user"
    for place, choice in enumerate(episode.choices):
        exact = episode.as_sampled
        logprobs = choice.logprobs if exact else ()
        said = Span("assistant", choice.tokens, logprobs, episode.id, place, episode.adapter)
        tokens = (*episode.prompt_tokens, *choice.tokens)
        if parent is not None and free:
            asked = Span(last, episode.prompt_tokens[shared:])
            parent.spans += [asked, said] if asked.tokens else [said]
            parent.tokens, free = tokens, False
        else:
            branches.append(_Branch(episode.base_model, [Span(last, episode.prompt_tokens), said], tokens))


def _parent(branches: Sequence[_Branch], episode: Episode) -> tuple[_Branch | None, int]:
    """The branch of the same model with the most tokens that are all a beginning of the prompt."""
    best: _Branch | None = None
    for branch in branches:
        size = len(branch.tokens)
        longer = best is None or size > len(best.tokens)
        if longer and branch.base_model == episode.base_model and episode.prompt_tokens[:size] == branch.tokens:
            best = branch
    return best, len(best.tokens) if best else 0


def _cost(episodes: Sequence[Episode]) -> Cost:
    waits = [episode.waited for episode in episodes if episode.waited is not None]
    return Cost(
        len(episodes),
        sum(len(episode.prompt_tokens) for episode in episodes),
        sum(len(choice.tokens) for episode in episodes for choice in episode.choices),
        sum(episode.seconds for episode in episodes),
        sum(waits) / len(waits) if waits else None,
        max(one.created_at + one.seconds for one in episodes) - episodes[0].created_at if episodes else 0.0,
    )
