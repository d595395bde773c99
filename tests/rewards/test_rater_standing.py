"""Trust and caps."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anubhav.rewards.standing import CROWD, SHARE, Ledger


def vote(ledger: Ledger, name: str, item: str, said: float, at: float = 0.0) -> None:
    ledger.meet(name, at).votes += 1
    ledger.hear(name, item, said)
    ledger.review(name)


def panel(names: list[str], items: int, seed: int = 0, noise: float = 0.1) -> Ledger:
    """Everybody judges every item; names that begin with `bad` say the opposite."""
    ledger, chance = Ledger(), random.Random(seed)
    for number in range(items):
        truth = chance.choice((-1.0, 1.0))
        for name in chance.sample(names, len(names)):
            turned = name.startswith("t/bad") != (chance.random() < noise)
            vote(ledger, name, f"ep_{number}:0", -truth if turned else truth)
    return ledger


def test_colluders_are_quarantined_and_the_honest_are_believed() -> None:
    names = [*(f"t/r{number}" for number in range(18)), "t/bad0", "t/bad1"]
    ledger = panel(names, 25)
    assert all(ledger.trust(name) == 0.0 for name in names if "bad" in name)
    assert all(ledger.trust(name) > 0.8 for name in names if "bad" not in name)


def test_who_votes_at_random_counts_for_less() -> None:
    ledger, chance = panel([f"t/r{number}" for number in range(8)], 20), random.Random(1)
    for number in range(20):
        vote(ledger, "t/lazy", f"ep_{number}:0", chance.choice((-1.0, 1.0)))
    assert ledger.trust("t/lazy") < 0.5


def test_one_or_two_people_are_believed_and_uncapped() -> None:
    ledger = Ledger()
    vote(ledger, "t/me", "ep_1:0", 1.0)
    vote(ledger, "t/you", "ep_1:0", -1.0)
    assert ledger.trust("t/me") == ledger.trust("t/you") == ledger.trust("t/unknown") == 1.0
    assert ledger.room("t/me") == float("inf")
    assert ledger.capped({"t/me": 500.0, "t/you": 1.0}) == {"t/me": 1.0, "t/you": 1.0}


def test_the_operator_has_the_last_word() -> None:
    ledger = panel([f"t/r{number}" for number in range(10)], 10)
    ledger.mark("t/r3", "quarantined")
    ledger.mark("t/r4", "trusted")
    assert ledger.trust("t/r3") == 0.0
    assert ledger.trust("t/r4") == 1.0
    assert ledger.room("t/r4") == float("inf")
    ledger.mark("t/r3", None)
    assert ledger.trust("t/r3") > 0.8
    ledger.mark("t/later", "quarantined")
    assert ledger.meet("t/later", 0.0).mark == "quarantined"


def test_judges_are_no_people() -> None:
    ledger = panel([f"t/r{number}" for number in range(3)], 5)
    for name in ("judge:a", "judge:b", "implied:t/r1"):
        vote(ledger, name, "ep_1:0", 1.0)
    assert ledger.people() == 3 < CROWD


def test_a_crowd_of_new_names_shares_one_cap() -> None:
    ledger = panel([f"t/r{number}" for number in range(25)], 12, noise=0.0)
    masses = {f"t/r{number}": 4.0 for number in range(25)}
    for number in range(200):
        name = f"t/sybil{number}"
        vote(ledger, name, f"ep_target{number % 2}:0", 1.0, at=100.0)
        masses[name] = ledger.trust(name) * 1.0
    kept = ledger.capped(masses)
    update = {name: kept[name] * mass for name, mass in masses.items()}
    sybils = sum(mass for name, mass in update.items() if "sybil" in name)
    assert sybils <= 0.11 * sum(update.values())


def test_those_who_came_together_and_vote_alike_share_one_cap_even_with_a_record() -> None:
    ledger = panel([f"t/r{number}" for number in range(20)], 30, noise=0.0)
    for number in range(12):
        for sybil in range(4):
            vote(ledger, f"t/s{sybil}", f"ep_{number}:0", ledger.ballots[f"ep_{number}:0"]["t/r0"], at=50.0)
    assert all(ledger.raters[f"t/s{sybil}"].proven for sybil in range(4))
    assert len({ledger.group_of(ledger.raters[f"t/s{sybil}"]) for sybil in range(4)}) == 1
    assert len({ledger.group_of(ledger.raters[f"t/r{number}"]) for number in range(20)}) == 20


@given(st.lists(st.floats(0.01, 1000), min_size=CROWD, max_size=40))
def test_no_group_moves_more_than_its_share_of_an_update(masses: list[float]) -> None:
    ledger = Ledger()
    for number in range(len(masses)):
        vote(ledger, f"t/r{number}", f"ep_{number}:0", 1.0)
    given_masses = {f"t/r{number}": mass for number, mass in enumerate(masses)}
    kept = ledger.capped(given_masses)
    update: dict[str, float] = {}
    for name, mass in given_masses.items():
        group = ledger.group_of(ledger.raters[name])
        update[group] = update.get(group, 0.0) + mass * kept[name]
    share = max(SHARE, 1.5 / len(update))
    assert all(0 <= one <= 1 for one in kept.values())
    assert max(update.values()) <= share * sum(update.values()) * (1 + 1e-6)


def test_a_vote_that_is_changed_changes_its_evidence() -> None:
    names = [f"t/r{number}" for number in range(6)]
    ledger = panel(names, 10, noise=0.0)
    before = ledger.raters["t/r0"].disagreed
    item = "ep_3:0"
    said = ledger.ballots[item]["t/r0"]
    ledger.hear("t/r0", item, -said)
    assert ledger.raters["t/r0"].disagreed > before + 0.5
    ledger.hear("t/r0", item, said)
    assert ledger.raters["t/r0"].disagreed == pytest.approx(before, abs=1e-9)


def test_shares_and_caps_are_told() -> None:
    ledger = Ledger()
    for number in range(4):
        ledger.meet(f"t/r{number}", number * 7200.0).mass = 1.0
    assert {(one.share, one.cap) for one in ledger.list()} == {(0.25, None)}
    for number in range(4, 6):
        ledger.meet(f"t/r{number}", number * 7200.0)
    ledger.mark("t/r0", "trusted")
    told = {one.name: (one.share, one.cap) for one in ledger.list()}
    assert told["t/r0"] == (0.25, None)
    assert told["t/r1"] == (0.25, 1.5 / 4)
    assert told["t/r5"] == (0.0, 1.5 / 5)
