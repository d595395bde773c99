"""Paired tests against known figures, and the whole gate under the null: the useless are almost never promoted."""

import random

import pytest

from anubhav.gates import judge as judging
from anubhav.gates import statistics
from anubhav.gates.holm import corrected
from anubhav.gates.judge import judge
from anubhav.gates.paired import above, at_least, gained
from anubhav.gates.spending import ALPHA, level
from anubhav.types.experience import Score


def test_p_is_what_tables_say() -> None:
    # t = 3.365 with 5 degrees of freedom has the one-sided p 0.01; 9 of 10 coins, 0.0107.
    differences = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    mean, error = 3.5, (3.5 / 6) ** 0.5
    assert above(differences, mean - 3.365 * error) == pytest.approx(0.01, abs=1e-4)
    assert above(differences, mean + 3.365 * error) == pytest.approx(0.99, abs=1e-4)
    assert above(differences, mean) == pytest.approx(0.5)
    assert at_least(9, 10, 0.5) == pytest.approx(11 / 1024)
    assert gained([1.0] * 5 + [0.0] * 20) == pytest.approx(1 / 32), "ties tell nothing"
    assert gained([0.4] * 5) == 0.0
    assert gained([1.0]) == 0.5


def test_the_effect_is_in_standard_deviations_and_none_without_spread() -> None:
    assert statistics.effect([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert statistics.effect([-0.3, 0.3]) == pytest.approx(0.0)
    assert statistics.effect([0.4] * 5) is None
    assert statistics.effect([1.0]) is None


def test_holm_multiplies_the_smallest_most_and_stays_in_order() -> None:
    assert corrected([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert corrected([]) == []
    assert corrected([0.9, 0.8]) == [1.0, 1.0]


def test_laps_in_vain_never_spend_more_than_there_is_and_a_working_loop_keeps_its_level() -> None:
    assert sum(level([False] * lap) for lap in range(5000)) < 0.7 * ALPHA
    falling = [level([False] * lap) for lap in range(50)]
    assert falling == sorted(falling, reverse=True)
    assert min(level([True] * lap) for lap in range(50)) > 0.014


def test_candidates_that_change_nothing_are_not_promoted_over_many_laps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_RESAMPLES", 50)
    rng, loops, deceived = random.Random(7), 120, 0
    for _ in range(loops):
        history: list[bool] = []
        for _ in range(12):
            scores = [Score(f"p{n}", "target-a", 0.0, rng.gauss(0, 1)) for n in range(15)]
            history.append(judge(scores, history).outcome == "pass")
        deceived += any(history)
    # Six would be expected at the whole of alpha, three at what is there before the first promotion.
    assert deceived <= 9


def test_a_small_true_gain_passes_on_the_first_lap_and_on_the_thirtieth_of_a_loop_that_works() -> None:
    rng = random.Random(3)
    scores = [Score(f"p{n}", "target-reasked", -2.0, -1.0 + rng.gauss(0, 0.3)) for n in range(5)]
    assert judge(scores).outcome == "pass"
    assert judge(scores, [True] * 29).outcome == "pass"


def repairs(held: int, lost: int) -> list[Score]:
    return [Score(f"ep_{n}:repair0", "guard-repairs", 1.0, float(n >= lost)) for n in range(held)]


@pytest.mark.parametrize(
    ("held", "lost", "outcome"),
    [
        (30, 0, "pass"),
        (30, 1, "pass"),
        (30, 2, "inconclusive"),
        (30, 8, "fail"),
        (4, 1, "inconclusive"),
        (4, 4, "fail"),
    ],
)
def test_no_more_than_a_twentieth_of_the_repairs_is_forgotten(held: int, lost: int, outcome: str) -> None:
    better = [Score(f"t{n}", "target-a", 0.0, 1.0 - n / 100) for n in range(10)]
    never = [Score(f"ep_x{n}:repair0", "guard-repairs", 0.0, 0.0) for n in range(50)]
    verdict = judge([*better, *repairs(held, lost), *never])
    assert verdict.outcome == outcome, verdict.reason
    [suite] = [one for one in verdict.comparisons if one.suite == "guard-repairs"]
    assert (suite.held, suite.lost, suite.n) == (held, lost, held + 50)


def test_every_guard_has_a_margin() -> None:
    worse = [Score(f"s{n}", "guard-safety", 0.7, 0.4 + n / 1000) for n in range(20)]
    better = [Score(f"t{n}", "target-a", 0.0, 1.0 - n / 100) for n in range(10)]
    assert judge([*better, *worse]).outcome == "fail"
    assert {"guard-safety", "guard-sycophancy", "guard-length", "judge-audit"} <= set(judging.TOLERANCES)
