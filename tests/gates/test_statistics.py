import random

import pytest

from anubhav.gates.statistics import compare, interval
from anubhav.types.experience import Score


def test_equal_differences_have_an_interval_of_no_width() -> None:
    assert interval([0.5] * 10) == (0.5, 0.5)


def test_the_same_differences_give_the_same_interval() -> None:
    differences = [0.0, 1.0, -1.0, 1.0, 1.0, 0.0]
    assert interval(differences) == interval(differences)


def test_it_agrees_with_the_normal_interval_where_that_is_right() -> None:
    rng = random.Random(1)
    differences = [rng.gauss(0.3, 1.0) for _ in range(200)]
    mean = sum(differences) / 200
    error = (sum((one - mean) ** 2 for one in differences) / 200 / 200) ** 0.5
    low, high = interval(differences)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.015)


def test_it_covers_the_truth_about_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anubhav.gates.statistics._RESAMPLES", 400)
    rng = random.Random(2)
    covered = 0
    for seed in range(200):
        low, high = interval([float(rng.random() < 0.4) for _ in range(40)], seed=seed)
        covered += low <= 0.4 <= high
    # Percentile intervals of 40 items cover a little less than 95 %.
    assert 0.88 <= covered / 200 <= 0.985


def test_a_comparison_tells_both_sides() -> None:
    scores = [Score(f"p{number}", "target", 0.0, float(number < 3)) for number in range(4)]
    found = compare("target", scores)
    assert (found.n, found.incumbent, found.candidate, found.difference) == (4, 0.0, 0.75, 0.75)
    assert found.low <= 0.75 <= found.high
