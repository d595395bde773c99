from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anubhav.learning.policy import Rated, advantages, deal, informative, reinforce, score
from anubhav.types.arrays import floats


def test_a_group_is_its_own_baseline_and_a_lone_reply_has_the_running_one() -> None:
    rated = [Rated((1,), (2, 3), 1.0), Rated((1,), (4,), -1.0), Rated((1,), (5,), 1.0), Rated((7,), (2,), 1.0)]
    assert advantages(rated, 0.25) == pytest.approx([2 / 3, -4 / 3, 2 / 3, 0.75])


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-1.0, 0.5, 1.0])), min_size=1, max_size=30))
def test_the_advantages_of_a_group_sum_to_nothing(rewards: list[tuple[int, float]]) -> None:
    rated = [Rated((prompt,), (number,), reward) for number, (prompt, reward) in enumerate(rewards)]
    found = advantages(rated, 0.0)
    for prompt in {one.prompt for one in rated}:
        group = [advantage for one, advantage in zip(rated, found, strict=True) if one.prompt == prompt]
        if len(group) > 1:
            assert sum(group) == pytest.approx(0.0, abs=1e-9)


def test_a_group_that_agrees_teaches_nothing() -> None:
    rated = [Rated((1,), (2,), 1.0), Rated((1,), (3,), 1.0), Rated((4,), (2,), 1.0), Rated((4,), (3,), -1.0)]
    assert [one for one, _ in informative(rated, 0.0)] == rated[2:]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 6))
def test_an_epoch_deals_every_answer_once_and_keeps_a_group_together(prompts: list[int], parts: int) -> None:
    rated = [Rated((prompt,), (number,), 1.0) for number, prompt in enumerate(prompts)]
    size, dealt = min(parts, len(set(prompts))), deal(rated, parts)
    for _ in range(2):
        epoch = list(islice(dealt, size))
        assert sorted(place for part in epoch for place in part) == list(range(len(rated)))
        assert sum(len({rated[place].prompt for place in part}) for part in epoch) == len(set(prompts))


def test_nothing_to_deal() -> None:
    assert list(deal([], 4)) == []


def test_the_data_hold_the_sampled_tokens_and_their_share_of_the_advantage() -> None:
    rated = [Rated((1, 2, 3), (4, 5), 1.0), Rated((1, 2, 3), (6,), -1.0)]
    known = [floats([-1.0] * len(datum.tokens)) for datum in score(rated)]
    first, second = reinforce(informative(rated, 0.0), known)
    assert (first.tokens, first.inputs["target_tokens"].tolist()) == ((1, 2, 3, 4), [2, 3, 4, 5])
    assert first.inputs["advantages"].tolist() == [0.0, 0.0, 0.5, 0.5]
    assert second.inputs["advantages"].tolist() == [0.0, 0.0, -0.5]
    assert first.inputs["logprobs"] == known[0]
