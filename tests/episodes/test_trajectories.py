"""Trajectories are token-exact, whatever a session did: each sampled token stands once, behind exactly its prompt."""

from hypothesis import given
from hypothesis import strategies as st

from anubhav.episodes.trajectories import Session, join
from anubhav.types.chat import Message
from anubhav.types.experience import Choice, Episode, Turn


def episode(
    name: str, prompt: tuple[int, ...], *answers: tuple[int, ...], turn: Turn = "main", adapter: str | None = "ad_1"
) -> Episode:
    choices = tuple(Choice(tokens, tuple(-0.5 for _ in tokens), "", "stop") for tokens in answers)
    asked = (Message("user", "?"),)
    return Episode(
        name, "ada", "default", "base", adapter, asked, prompt, choices, 1.0, 10.0, 2.0, "s", turn=turn, waited=0.5
    )


def test_turns_are_joined_and_each_span_keeps_its_version() -> None:
    first = episode("ep_1", (1, 2), (7, 0), adapter=None)
    second = episode("ep_2", (1, 2, 7, 0, 3, 4), (8, 0))
    (found,) = join("s", [first, second]).trajectories
    assert found.tokens == (1, 2, 7, 0, 3, 4, 8, 0)
    assert [(span.tokens, span.episode, span.adapter) for span in found.spans] == [
        ((1, 2), None, None),
        ((7, 0), "ep_1", None),
        ((3, 4), None, None),
        ((8, 0), "ep_2", "ad_1"),
    ]
    assert [len(span.logprobs) for span in found.spans] == [0, 2, 0, 2]


def test_what_was_rendered_otherwise_or_asked_again_begins_anew() -> None:
    session = [
        episode("ep_1", (1, 2), (7, 0)),
        episode("ep_2", (1, 2, 9, 9, 0, 3), (8, 0)),  # the answer came back as other tokens
        episode("ep_3", (1, 2, 7, 0, 3), (8, 0)),
        episode("ep_4", (1, 2, 7, 0, 5), (6, 0)),  # the second turn again, after ep_3 went on already
    ]
    found = join("s", session).trajectories
    assert [[span.episode for span in one.spans if span.episode] for one in found] == [
        ["ep_1", "ep_3"], ["ep_2"], ["ep_4"],
    ]  # fmt: skip


def test_side_turns_stand_apart_and_cost_counts_all() -> None:
    session = [
        episode("ep_1", (1, 2), (7, 0)),
        episode("ep_t", (5,), (6, 0), turn="side"),
    ]
    found = join("s", session)
    assert found.side == ("ep_t",)
    assert [len(one.spans) for one in found.trajectories] == [2]
    cost = found.cost
    assert (cost.replies, cost.prompt_tokens, cost.completion_tokens, cost.seconds) == (2, 3, 4, 4.0)
    assert (cost.waited, cost.elapsed) == (0.5, 2.0)


tokens = st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple)


@st.composite
def sessions(draw: st.DrawFn) -> list[Episode]:
    """Turns that go on from anything said before, from its beginning, or from nothing."""
    episodes: list[Episode] = []
    for number in range(draw(st.integers(1, 8))):
        before = [(*one.prompt_tokens, *choice.tokens) for one in episodes for choice in one.choices]
        start = draw(st.sampled_from(before)) if before and draw(st.booleans()) else ()
        start = start[: draw(st.integers(0, len(start)))] if draw(st.booleans()) else start
        answers = draw(st.lists(tokens, min_size=1, max_size=3))
        turn: Turn = draw(st.sampled_from(("main", "main", "main", "side")))
        episodes.append(episode(f"ep_{number}", (*start, *draw(tokens)), *answers, turn=turn))
    return episodes


@given(sessions())
def test_every_sampled_token_stands_once_behind_its_own_prompt(session: list[Episode]) -> None:
    found: Session = join("s", session)
    known = {one.id: one for one in session}
    seen: list[tuple[str, int]] = []
    for trajectory in found.trajectories:
        before: tuple[int, ...] = ()
        for span in trajectory.spans:
            if span.episode:
                said = known[span.episode]
                assert before == said.prompt_tokens
                assert (span.tokens, span.logprobs) == (
                    said.choices[span.choice].tokens, said.choices[span.choice].logprobs,
                )  # fmt: skip
                seen.append((span.episode, span.choice))
            before += span.tokens
    mains = [(one.id, place) for one in session if one.turn == "main" for place in range(len(one.choices))]
    assert sorted(seen) == sorted(mains)
    assert set(found.side) == {one.id for one in session if one.turn == "side"}


@given(sessions())
def test_a_reply_goes_on_from_the_longest_of_what_was_open(session: list[Episode]) -> None:
    """An only choice whose prompt begins with all of an open trajectory never begins a new one."""
    for place, one in enumerate(session):
        earlier = join("s", session[:place]).trajectories
        if one.turn == "main" and any(one.prompt_tokens[: len(old.tokens)] == old.tokens for old in earlier):
            later = join("s", session[: place + 1]).trajectories
            assert len(later) == len(earlier) + len(one.choices) - 1
