"""Policies of memory: each within its budget, and each by its own rule."""

import json
from pathlib import Path

import pytest

from anubhav.memory.scoring import FIXED
from benchmarks.memory import shelf as shelf_module
from benchmarks.memory.intervals import clustered, paired
from benchmarks.memory.message import Message, count_words
from benchmarks.memory.policies.policy import Policy
from benchmarks.memory.policies.summary import Summary
from benchmarks.memory.shelf import Shelf, from_told
from benchmarks.memory.voice import Voice
from benchmarks.stand.environments import NotRun

TALK = [
    Message("user", "Hello there, how are you doing today?"),
    Message("assistant", "Fine, thanks!"),
    Message("user", "My locker combination is 4821 and my name is Meera Iyer."),
    Message("assistant", "Noted."),
    Message("user", "It rains and rains and rains, and it does so on and on and on, what a day, what a week."),
]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(Voice("no-such-model"), "words")


async def listen(policy: Policy, question: str = "") -> list[int | None]:
    for message in TALK:
        await policy.hear(message)
    return [line.turn for line in await policy.recall(question)]


async def test_recency_passes_over_what_does_not_fit(shelf: Shelf) -> None:
    assert await listen(shelf.make("recency", 25)) == [1, 2, 3]


async def test_the_longest_and_the_most_telling_are_chosen_first(shelf: Shelf) -> None:
    assert await listen(shelf.make("keep-longest", 31)) == [3, 4]
    assert 2 in await listen(shelf.make("idf-salience", 20))


async def test_full_context_keeps_everything(shelf: Shelf) -> None:
    assert await listen(shelf.make("full-context", 1)) == [0, 1, 2, 3, 4]


async def test_retrieval_brings_back_what_the_question_is_about(shelf: Shelf) -> None:
    policy = shelf.make("bm25", 20)
    assert policy.outside
    assert 2 in await listen(policy, "What is my locker combination?")


@pytest.mark.parametrize("name", ["recency", "random", "keep-longest", "idf-salience", "bm25", "diffusion-fixed"])
async def test_no_policy_exceeds_its_budget(shelf: Shelf, name: str) -> None:
    policy = shelf.make(name, 64)
    for number in range(40):
        await policy.hear(Message("user", f"Number {number}: {TALK[number % 5].text}"))
        lines = await policy.recall("locker")
        assert sum(count_words(f"{line.role}: {line.text}") for line in lines) <= 64


class Scribe(Voice):
    """Writes more than it was asked for."""

    async def say(self, messages: object, *, tokens: int) -> str:
        return " ".join(f"word{number}" for number in range(4 * tokens))


async def test_a_summary_is_cut_to_its_half() -> None:
    policy = Summary(64, count_words, Scribe())
    for number in range(40):
        await policy.hear(TALK[number % 5])
        lines = await policy.recall()
        assert sum(count_words(line.text) for line in lines) <= 64
    assert any(line.turn is None for line in lines)


def test_what_was_not_learned_cannot_be_run(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shelf_module, "LEARNED", tmp_path / "learned.json")
    with pytest.raises(NotRun, match=r"learned\.json"):
        shelf.make("diffusion-learned", 64)
    told = {"name": "learned", "weights": dict(FIXED.weights), "stretch": 0.5, "window": 0.1}
    (tmp_path / "learned.json").write_text(json.dumps(told))
    assert from_told(told).stretch == 0.5
    assert shelf.make("diffusion-learned", 64).bounded


def test_an_interval_widens_when_clusters_differ() -> None:
    alike, apart = [[0.0, 1.0] * 20] * 5, [[0.0] * 40, [1.0] * 40, [0.0] * 40, [1.0] * 40, [1.0] * 40]
    narrow, wide = clustered(alike), clustered(apart)
    assert narrow[0] < 0.5 < narrow[1]
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    assert clustered([[]]) == (0.0, 0.0)


def test_pairs_are_compared_by_their_difference() -> None:
    gain, low, high = paired([0.5, 0.6, 0.7, 0.9], [0.4, 0.5, 0.6, 0.8])
    assert gain == pytest.approx(0.1) and low == pytest.approx(0.1) and high == pytest.approx(0.1)
