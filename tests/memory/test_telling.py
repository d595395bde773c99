"""What is put on record is told from chatter, and outlives it also where both were said in one breath."""

import asyncio

import pytest

from anubhav.memory.cut import Said, cut
from anubhav.memory.fitting import Fitter
from anubhav.memory.scoring import score
from anubhav.memory.supersede import recorded
from anubhav.memory.telling import after_address, tell
from anubhav.types.memory import MemoryPolicy
from tests.memory.conftest import count


@pytest.mark.parametrize(
    "sentence",
    [
        "My locker opens with 4821.",
        "The dentist appointment is on 3 May.",
        "By the way, we live in Lisbon.",
        "Just so you know, our plumber is Ann Brown.",
        "I report to Omar Reyes.",
        "They printed 730881 on my badge.",
    ],
)
def test_what_stands_for_longer_is_a_record(sentence: str) -> None:
    assert "record" in tell(tuple(sentence.split()))


@pytest.mark.parametrize(
    "sentence",
    [
        "Is my locker 4821?",
        "Convert 48 miles to kilometres for me.",
        "They say 300 people live in Lisbon.",
        "I read that Lisbon has 7 hills.",
        "We went to Lisbon with Tom.",
        "I should call Ann Brown.",
        "Thanks for that, Maria!",
        "You look great, Maria, as ever.",
    ],
)
def test_what_happened_was_heard_asked_or_wished_is_none(sentence: str) -> None:
    assert "record" not in tell(tuple(sentence.split()))


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("Hey Maria, I moved.", "I moved."),
        ("Oh, and before I forget: the exam is in May.", "the exam is in May."),
        ("Just so you know, I moved.", "I moved."),
        ("My locker, by the way, is 4821.", "My locker, by the way, is 4821."),
        ("I changed jobs, I work at Bosch now.", "I changed jobs, I work at Bosch now."),
        ("Door code: 4821.", "Door code: 4821."),
    ],
)
def test_an_address_goes_and_what_tells_something_stays(said: str, left: str) -> None:
    assert " ".join(after_address(said.split())) == left


def test_only_what_a_user_puts_on_record_is_left_of_a_chunk() -> None:
    (chunk,) = cut(Said("user", "What a day it was. My locker opens with 4821. The cat slept."), 0, 512, count)
    left = recorded(chunk, count)
    assert left and left.text == "My locker opens with 4821."
    assert recorded(left, count) is None
    (other,) = cut(Said("assistant", "What a day. Your locker opens with 4821."), 0, 512, count)
    assert recorded(other, count) is None


def test_a_record_stays_where_the_chunk_it_was_said_in_has_to_go() -> None:
    """Alone it is worth what is one's own; the chatter that goes cost it more than that."""
    policy = MemoryPolicy("own", {"own": 3.0, "past": -6.0})
    mixed = "Long queues formed, rain poured, umbrellas turned, buses crawled. My locker opens with 4821."
    others = [f"Cats {word} quietly beside rivers." for word in ("sleep", "wait", "sit", "hide", "play")]
    chunks = [one for turn, text in enumerate((mixed, *others)) for one in cut(Said("user", text), turn, 512, count)]
    fitted = asyncio.run(Fitter(count, policy).fit(score(chunks, policy, 6), 60, 6))
    parted = [line for line in fitted.decisions if line.why == "only what it puts on record"]
    assert [(line.before, line.after) for line in parted] == [(mixed, "My locker opens with 4821.")]
    (kept,) = [chunk for chunk in fitted.chunks if "4821" in chunk.text]
    assert "queues" not in kept.text and kept.features["own"] == kept.features["record"] == 1.0
