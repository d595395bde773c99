"""The engine's turns: shares, waits and order, over made-up loads and in made-up units."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from anubhav.backends.torch.sampling.turns import Turns

COSTS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4)


def new() -> Turns:
    return Turns(owed=10.0, level=0.25)


def play(turns: Turns, costs: dict[str, float], until: float) -> Counter[str]:
    """Everybody always wants; the first in order goes. What each got."""
    got: Counter[str] = Counter()
    turns.want(set(costs))
    while got.total() < until:
        tenant = turns.level(costs)[0]
        turns.charge(tenant, costs[tenant])
        got[tenant] += costs[tenant]  # pyright: ignore[reportArgumentType]
    return got


@given(COSTS)
def test_shares_are_equal_whatever_a_turn_costs(costs: list[float]) -> None:
    loads = {str(number): cost for number, cost in enumerate(costs)}
    got = play(new(), loads, 100.0)
    assert max(got.values()) - min(got[name] for name in loads) <= 2.0


@given(COSTS, st.floats(0.0, 1000.0))
def test_who_was_away_goes_first_and_not_for_ever(costs: list[float], before: float) -> None:
    loads = {str(number): cost for number, cost in enumerate(costs)}
    turns = new()
    play(turns, loads, before)
    turns.want({*loads, "late"})
    assert turns.level([*loads, "late"])[0] == "late" or before <= 2.0
    got = play(turns, {**loads, "late": 0.1}, 100.0)
    assert got["late"] <= 10.0 + 2.0 + 100.0 / (len(loads) + 1) + 1.0
    assert all(got[name] > 0 for name in loads)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
def test_whoever_asks_somebody_may_go(steps: list[str]) -> None:
    turns, wanting = new(), set[str]()
    for step in steps:
        wanting ^= {step}
        turns.want(wanting)
        level = turns.level(wanting)
        assert bool(level) == bool(wanting)
        if level:
            turns.charge(level[0], 0.7)


def test_a_long_gone_tenant_is_forgotten() -> None:
    turns = new()
    play(turns, {"old": 1.0}, 5.0)
    turns.want({"old", "new"})
    play(turns, {"new": 1.0}, 100.0)
    for _ in range(2):
        turns.want({"new"})
        turns.want({"new", "other"})
    assert "old" not in turns._used


def test_tenants_that_are_level_share_a_batch() -> None:
    turns = new()
    turns.want({"a", "b"})
    turns.charge("a", 0.2)
    assert turns.level({"a", "b"}) == ["b", "a"]
    turns.charge("a", 0.2)
    assert turns.level({"a", "b"}) == ["b"]
