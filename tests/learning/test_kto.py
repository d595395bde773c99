from dataclasses import replace
from typing import Any

import pytest

from anubhav.learning.kto import Liking, answers, baseline, forces, mismatched, shares, weigh

BETA = 0.3
LIKINGS = [
    Liking((1, 2), (3, 4, 9), good=True),
    Liking((1,), (6, 9), good=False, weight=0.5),
    Liking((1, 2), (5, 9), good=False),
]
REFERENCE, POLICY = [-4.0, -2.0, -3.0], [-3.1, -2.4, -1.0]
OTHERS, OTHERS_NOW = [-9.0, -8.0, -7.0], [-8.0, -7.5, -6.0]


def test_the_weights_are_the_gradient_of_the_kto_loss() -> None:
    """Against autograd of the loss as the paper writes it, z without a gradient."""
    torch: Any = pytest.importorskip("torch")
    policy = torch.tensor(POLICY, dtype=torch.float64, requires_grad=True)
    gained = policy - torch.tensor(REFERENCE, dtype=torch.float64)
    away = torch.tensor(OTHERS_NOW, dtype=torch.float64) - torch.tensor(OTHERS, dtype=torch.float64)
    z = away.mean().clamp(min=0.0).detach()
    # One like of 1.0 and dislikes of 1.5 together: the like is evened out.
    lambdas = torch.tensor([1.5, 0.5, 1.0], dtype=torch.float64)
    value = torch.stack(
        [
            torch.sigmoid(BETA * (gained[0] - z)),
            torch.sigmoid(BETA * (z - gained[1])),
            torch.sigmoid(BETA * (z - gained[2])),
        ]
    )
    (lambdas * (1 - value)).mean().backward()
    found = baseline(OTHERS_NOW, OTHERS)
    even = [replace(one, weight=share) for one, share in zip(LIKINGS, shares(LIKINGS), strict=True)]
    data = weigh(even, forces(LIKINGS, POLICY, REFERENCE, found, BETA))
    assert found == pytest.approx(float(z))
    for one, datum, slope in zip(LIKINGS, data, policy.grad.tolist(), strict=True):
        weights = datum.inputs["weights"].tolist()
        # The loss is −Σ weight · log p.
        assert weights[-len(one.answer) :] == pytest.approx([-slope] * len(one.answer), abs=1e-6)
        assert not any(weights[: -len(one.answer)])
        assert datum.tokens == (*one.prompt, *one.answer)[:-1]


def test_z_is_never_negative_and_answers_stand_behind_another_prompt() -> None:
    assert baseline([-2.0], [-1.0]) == 0.0
    assert mismatched(LIKINGS) == [((1,), (3, 4, 9)), ((1, 2), (6, 9)), ((1,), (5, 9))]
    assert [answer for _, answer in answers(LIKINGS)] == [one.answer for one in LIKINGS]
    alone = LIKINGS[:1]
    assert (mismatched(alone), baseline([], [])) == ([], 0.0)


def test_a_rare_side_is_evened_out_within_bounds_and_one_side_alone_is_left() -> None:
    many = [Liking((number,), (1,), good=True) for number in range(20)]
    assert shares([*many, LIKINGS[2]])[-1] == 4.0
    assert shares(many) == [1.0] * 20


def test_nothing_overflows_far_away() -> None:
    far = forces(LIKINGS[:2], [9e4, -9e4], [0.0, 0.0], 0.0, 1.0)
    assert far == [0.0, 0.0]
