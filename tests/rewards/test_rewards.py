import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anubhav.rewards.baseline import Baselines
from anubhav.rewards.signals import merge
from anubhav.store import experience
from anubhav.store.database import Database
from anubhav.types.experience import Feedback


def feedback(kind: Any, value: float | None = None, rater: str | None = None, **fields: Any) -> Feedback:
    name = f"fb_{random.random()}"
    return Feedback(name, "t", "ep_1", 0, kind, 0.0, value, rater=rater, **fields)


@pytest.mark.parametrize(
    ("given", "reward"),
    [
        ([feedback("thumb", 1.0)], 1.0),
        ([feedback("thumb", 0.0)], -1.0),
        ([feedback("rating", 0.75)], 0.5),
        ([feedback("outcome", 0.0)], -1.0),
        ([feedback("correction", text="better")], -1.0),
        ([feedback("thumb", 1.0, "a"), feedback("thumb", 0.0, "a")], -1.0),
        ([feedback("thumb", 1.0, "a"), feedback("thumb", 0.0, "b")], 0.0),
        ([feedback("thumb", 1.0), feedback("thumb", 1.0), feedback("thumb", 0.0)], pytest.approx(1 / 3)),
        ([feedback("thumb", 0.0, "a"), feedback("rating", 1.0, "a")], 0.0),
    ],
)
def test_what_a_choice_was_judged_becomes_one_reward(given: list[Feedback], reward: float) -> None:
    assert merge(given) == {("ep_1", 0): reward}


def test_a_comparison_rewards_one_and_punishes_the_other() -> None:
    assert merge([feedback("comparison", against="ep_2:3")]) == {("ep_1", 0): 1.0, ("ep_2", 3): -1.0}


@given(st.lists(st.tuples(st.sampled_from(["thumb", "rating", "outcome"]), st.floats(0, 1), st.integers(0, 3))))
def test_no_crowd_of_votes_leaves_the_bounds(votes: list[tuple[str, float, int]]) -> None:
    rewards = merge([feedback(kind, value, f"rater{rater}") for kind, value, rater in votes])
    assert all(-1.0 <= reward <= 1.0 for reward in rewards.values())


async def test_the_baseline_moves_a_little_with_each_reaction_and_is_rebuilt_from_the_store() -> None:
    database = Database(":memory:")
    baselines = Baselines(database)
    assert await baselines.expect("default") == 0.0
    up = feedback("thumb", 1.0)
    for number in range(3):
        one = replace(up, id=f"fb_{number}")
        await database.run(lambda c, one=one: experience.add_feedback(c, one, "default", ""))
        last = await baselines.observe("default", [one])
        assert 0.0 < last < 0.15 * (number + 1)
    assert await baselines.expect("default") == last
    assert await baselines.expect("other") == 0.0
    assert await Baselines(database).expect("default") == 1.0
    database.close()
