import math

import pytest

from anubhav.learning.preference import Pair, answer_logprob, both, strengths, weigh

BETA = 0.3
PAIRS = [Pair((1, 2), (3, 4, 9), (5, 9)), Pair((1,), (6, 9), (7, 8, 9))]
REFERENCE = [-4.0, -2.0, -3.0, -5.0]


def dpo(logprobs: list[float]) -> float:
    """The mean loss, straight from the paper."""
    losses = [
        math.log1p(math.exp(-BETA * ((logprobs[at] - REFERENCE[at]) - (logprobs[at + 1] - REFERENCE[at + 1]))))
        for at in (0, 2)
    ]
    return sum(losses) / 2


def test_the_weights_are_the_gradient_of_the_dpo_loss() -> None:
    policy = [-3.1, -2.4, -3.3, -4.0]
    data = weigh(PAIRS, strengths(policy, REFERENCE, BETA))
    for place, datum in enumerate(data):
        up, down = policy.copy(), policy.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        slope = (dpo(up) - dpo(down)) / 2e-5
        weights = datum.inputs["weights"].tolist()
        answer = (PAIRS[place // 2].chosen, PAIRS[place // 2].rejected)[place % 2]
        # The loss is −Σ weight · log p, so d loss / d log p(answer) is minus the weight of each of its tokens.
        assert weights[-len(answer) :] == pytest.approx([-slope] * len(answer), abs=1e-6)
        assert not any(weights[: -len(answer)])
        assert datum.inputs["target_tokens"].tolist()[-len(answer) :] == list(answer)


def test_a_pair_without_force_has_no_data_and_weighs_in_the_mean_as_before() -> None:
    whole, half = weigh(PAIRS, [0.2, 0.1]), weigh(PAIRS, [0.2, 0.0])
    assert len(half) == 2
    assert [datum.inputs["weights"].tolist() for datum in half] == [
        datum.inputs["weights"].tolist() for datum in whole[:2]
    ]


def test_a_pair_far_behind_does_not_overflow() -> None:
    assert strengths([-90000.0, 0.0], [0.0, 0.0], 1.0) == [1.0]
    assert strengths([0.0, -90000.0], [0.0, 0.0], 1.0)[0] < 1e-300


def test_an_answer_is_the_end_of_its_datum() -> None:
    data = both(PAIRS)
    assert [datum.tokens for datum in data] == [(1, 2, 3, 4), (1, 2, 5), (1, 6), (1, 7, 8)]
    assert answer_logprob([-9.0, -1.0, -2.0, -3.0], (3, 4, 9)) == -6.0
