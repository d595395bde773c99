import math
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anubhav.learning.policy import (
    Rated,
    advantages,
    deal,
    divergence,
    informative,
    mismatch,
    penalties,
    reinforce,
    score,
    truncated,
)
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
    first, second = reinforce(informative(rated, 0.0), known, 2.0)
    assert (first.tokens, first.inputs["target_tokens"].tolist()) == ((1, 2, 3, 4), [2, 3, 4, 5])
    assert first.inputs["advantages"].tolist() == [0.0, 0.0, 0.5, 0.5]
    assert second.inputs["advantages"].tolist() == [0.0, 0.0, -0.5]
    assert first.inputs["logprobs"] == known[0]


def test_a_judgement_that_is_trusted_less_moves_less_and_hardly_moves_the_mean_of_its_group() -> None:
    rated = [Rated((1,), (2,), 1.0), Rated((1,), (3,), -1.0, 0.1)]
    first, second = advantages(rated, 0.0)
    assert (first, second) == (pytest.approx(1 - 0.9 / 1.1), pytest.approx(0.1 * (-1 - 0.9 / 1.1)))
    assert first + second == pytest.approx(0.0)
    assert advantages([Rated((1,), (2,), -1.0, 0.1)], 0.5) == [pytest.approx(-0.15)]


def test_what_the_critic_scored_is_held_against_its_like_only() -> None:
    rated = [Rated((1,), (2,), 1.0), Rated((1,), (3,), 0.2, fresh=True), Rated((1,), (4,), 0.4, fresh=True)]
    assert advantages(rated, 0.0) == pytest.approx([1.0, -0.1, 0.1])


def test_the_truncated_ratio_is_the_gradient_of_importance_sampling_cut_at_the_cap() -> None:
    """Against autograd: −Σ sg(min(p₀ / q, cap)) · (p / p₀) · A at p = p₀, written out plainly."""
    torch: Any = pytest.importorskip("torch")
    incumbent, sampled, cap, advantage = [-0.5, -1.0, -3.0], [-2.5, -1.2, -0.5], 2.0, 0.7
    logits = torch.tensor(incumbent, dtype=torch.float64, requires_grad=True)
    ratio = (torch.tensor(incumbent, dtype=torch.float64) - torch.tensor(sampled, dtype=torch.float64)).exp()
    loss = -(ratio.clamp(max=cap) * (logits - logits.detach()).exp() * advantage).sum()
    loss.backward()
    one = Rated((1, 2), (3, 4, 5), 1.0, logprobs=tuple(sampled))
    known = floats([-9.0, *incumbent])
    [datum] = reinforce([(one, advantage)], [known], cap)
    # importance_sampling's own derivative at p = p₀ is −A for each token.
    assert [-value for value in datum.inputs["advantages"].tolist()[1:]] == pytest.approx(logits.grad.tolist())
    assert truncated(one, known, cap)[0] == cap  # e², cut
    assert datum.inputs["logprobs"] == known


def test_without_log_probabilities_of_the_sampling_the_weight_is_one() -> None:
    assert truncated(Rated((1,), (2, 3), 1.0), floats([-1.0, -2.0]), 2.0) == [1.0, 1.0]


def test_the_mismatch_is_of_what_the_incumbent_said_itself() -> None:
    known = floats([-9.0, -1.0, -1.0])
    ours = Rated((1, 2), (3, 4), 1.0, logprobs=(-1.1, -0.9), own=True)
    others = Rated((1, 2), (3, 4), 1.0, logprobs=(-5.0, -5.0))
    expected = sum(math.expm1(away) - away for away in (0.1, -0.1)) / 2
    assert mismatch([ours, others], [known, known]) == pytest.approx(expected, rel=1e-5)
    assert mismatch([others, Rated((1, 2), (3, 4), 1.0, own=True)], [known, known]) is None


def test_the_penalty_takes_from_tokens_that_went_up_and_nothing_on_the_whole() -> None:
    rated = [Rated((1, 2), (3,), 1.0), Rated((1,), (4, 5), 1.0)]
    known, now = [floats([0.0, -1.0]), floats([-1.0, -1.0])], [floats([5.0, -0.4]), floats([-1.3, -1.0])]
    taken = penalties(rated, now, known, 0.5)
    assert taken[0] == pytest.approx([0.5 * (0.6 - 0.1)], abs=1e-6)
    assert sum(value for answer in taken for value in answer) == pytest.approx(0.0, abs=1e-6)
    [datum, _] = reinforce([(one, 1.0) for one in rated], known, 2.0, taken)
    assert datum.inputs["advantages"].tolist() == pytest.approx([0.0, (1.0 - 0.25) / 2])


def test_the_divergence_is_that_of_the_distributions_where_the_incumbent_sampled() -> None:
    truth, belief = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    expected = sum(p * math.log(p / q) for p, q in zip(truth, belief, strict=True))
    found = sum(
        chance * divergence([Rated((1,), (2,), 0.0)], [floats([math.log(q)])], [floats([math.log(chance)])])
        for chance, q in zip(truth, belief, strict=True)
    )
    assert found == pytest.approx(expected, abs=1e-6)
