"""What a next turn implies, and what it does not."""

import pytest

from anubhav.rewards.hints import hint
from anubhav.types.chat import Message


def said(now: str, before: str = "How long does the delivery to Norway take?") -> float | None:
    return hint((Message("system", "x"), Message("user", before), Message("assistant", "Days."), Message("user", now)))


@pytest.mark.parametrize("now", ["Thanks!", "thank you, that works", "Perfect, exactly what I needed", "Great!"])
def test_thanks_are_a_yes(now: str) -> None:
    assert said(now) == 1.0


@pytest.mark.parametrize(
    "now",
    [
        "How long will delivery to Norway take?",
        "no, that is not what I asked",
        "That's wrong.",
        "I meant Norway",
        "never mind, I'll google it",
        "this is useless",
        "I want to talk to a human",
    ],
)
def test_asking_again_and_giving_up_are_a_no(now: str) -> None:
    assert said(now) == 0.0


@pytest.mark.parametrize(
    "now",
    [
        "And to Sweden?",
        "Thanks, but it still fails",
        "What does it cost?",
        "Thank you for the explanation of the delivery, now tell me in detail what happens when a parcel is lost on the"
        " way and who pays for it in the end",
        "ok",
        "",
    ],
)
def test_anything_else_is_silence(now: str) -> None:
    assert said(now) is None


def test_a_first_turn_says_nothing() -> None:
    assert hint((Message("user", "Thanks!"),)) is None
    assert hint((Message("user", "a"), Message("user", "Thanks!"))) is None
