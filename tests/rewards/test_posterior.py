"""The belief's arithmetic: rank-one steps are the exact ones, what is taken back is gone, and heat calibrates."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anubhav.rewards.posterior import Guess, Heat, Posterior, Site, logistic, site

SIZE = 6


def steps(seed: int, count: int) -> list[tuple[list[float], Site]]:
    chance = random.Random(seed)
    return [
        ([chance.gauss(0, 1) for _ in range(SIZE)], Site(chance.uniform(0.01, 0.3), chance.gauss(0, 1)))
        for _ in range(count)
    ]


def close(one: Posterior, other: Posterior) -> None:
    chance = random.Random(1)
    for _ in range(5):
        x = [chance.gauss(0, 1) for _ in range(SIZE)]
        first, second = one.guess(x), other.guess(x)
        assert first.mean == pytest.approx(second.mean, abs=1e-8)
        assert first.variance == pytest.approx(second.variance, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_rank_one_steps_are_what_the_information_says(seed: int) -> None:
    stepped, anew = Posterior([2.0] * SIZE), Posterior([2.0] * SIZE)
    for x, one in steps(seed, 30):
        stepped.absorb(x, one)
        anew.absorb(x, one)
    anew.settle()
    close(stepped, anew)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 29))
def test_a_site_taken_back_was_never_there(seed: int, which: int) -> None:
    given_steps = steps(seed, 30)
    full, without, at_once = (Posterior([1.0] * SIZE) for _ in range(3))
    for number, (x, one) in enumerate(given_steps):
        full.absorb(x, one)
        at_once.absorb(x, one)
        if number != which:
            without.absorb(x, one)
    full.absorb(*given_steps[which], -1.0)
    at_once.withdraw([(*given_steps[which], 1.0)])
    close(full, without)
    close(at_once, without)


def test_fading_to_nothing_is_the_prior_and_packing_is_exact() -> None:
    belief = Posterior([0.5] * SIZE)
    for x, one in steps(3, 20):
        belief.absorb(x, one)
    again = Posterior.unpack(belief.pack())
    x = steps(4, 1)[0][0]
    assert again.guess(x) == belief.guess(x)
    assert again.pack() == belief.pack()
    belief.fade(0.0)
    close(belief, Posterior([0.5] * SIZE))


@given(st.floats(-8, 8), st.floats(0.01, 20), st.floats(0, 1), st.floats(0.01, 1))
def test_a_site_pulls_towards_what_was_wanted_and_never_past_sense(
    mean: float, variance: float, wanted: float, weight: float
) -> None:
    one, mode = site(Guess(mean, variance), wanted, weight)
    assert one.precision > 0
    assert (mode - mean) * (wanted - logistic(mean)) >= -1e-6
    # The mode is where the prior's pull and the vote's are equal.
    assert (mode - mean) / variance == pytest.approx(weight * (wanted - logistic(mode)), abs=1e-3)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_heat_finds_how_much_surer_predictions_should_be(scale: float) -> None:
    heat, chance = Heat(), random.Random(5)
    for _ in range(3000):
        told = chance.gauss(0, 2)
        heat.learn(Guess(told, 0.0), float(chance.random() < logistic(scale * told)), 1.0)
    assert heat.warmed(Guess(1.0, 0.0)).mean == pytest.approx(scale, rel=0.35)
