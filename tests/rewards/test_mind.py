"""The critic's mind against crowds whose taste is known."""

import random
from dataclasses import replace

import pytest
from crowds import Crowd, empty, skill, teach
from hypothesis import given, settings
from hypothesis import strategies as st

from anubhav.rewards import minds
from anubhav.rewards.mind import Mind
from anubhav.rewards.votes import Vote
from anubhav.rewards.watch import figures
from anubhav.store.beliefs import Found


def mixed(crowd: Crowd, count: int, raters: int = 20, hostile: float = 0.0) -> list[Vote]:
    """Thumbs and comparisons; the hostile share comes from a tenth of the raters and is turned round."""
    votes: list[Vote] = []
    for _ in range(count):
        bad = crowd.chance.random() < hostile
        rater = (
            f"t/bad{crowd.chance.randrange(max(1, raters // 10))}" if bad else f"t/r{crowd.chance.randrange(raters)}"
        )
        if crowd.chance.random() < 0.6:
            votes.append(crowd.thumb(rater, crowd.answer(), hostile=bad))
        else:
            vote = crowd.compare(rater, crowd.answer(), crowd.answer())
            turned = replace(vote, view=vote.against or vote.view, against=vote.view)
            votes.append(turned if bad else vote)
    return votes


@pytest.mark.parametrize(
    ("noise", "hostile", "after"),
    [
        (0.0, 0.0, {50: 0.66, 200: 0.78, 1000: 0.86}),
        (0.2, 0.0, {50: 0.52, 200: 0.68, 1000: 0.82}),
        (0.0, 0.3, {200: 0.75, 1000: 0.84}),
        (0.2, 0.3, {200: 0.62, 1000: 0.78}),
    ],
)
def test_hidden_preferences_are_found_through_noise_and_hostility(
    noise: float, hostile: float, after: dict[int, float]
) -> None:
    found: dict[int, list[float]] = {}
    for seed in (3, 4):
        crowd, mind, count = Crowd(seed, noise), empty(), 0
        votes = mixed(crowd, max(after), hostile=hostile)
        for upto in after:
            teach(mind, *votes[count:upto])
            count = upto
            found.setdefault(upto, []).append(skill(mind, crowd))
        if not hostile:
            assert figures(mind.record)["ece"] <= 0.08
    means = {upto: sum(skills) / len(skills) for upto, skills in found.items()}
    assert all(means[upto] >= least for upto, least in after.items()), means


def test_what_is_uncertain_becomes_certain_and_stays_in_bounds() -> None:
    crowd, mind = Crowd(5), empty()
    views = [crowd.answer() for _ in range(20)]
    before = [one.deviation for one in mind.estimate(views)]
    teach(mind, *mixed(crowd, 300))
    after = mind.estimate(views)
    assert all(-1 <= one.mean <= 1 and 0 <= one.deviation <= 1 for one in after)
    assert sum(one.deviation for one in after) < 0.8 * sum(before)


def test_ratings_in_between_and_corrections_teach_too() -> None:
    crowd, mind = Crowd(6), empty()
    for number in range(300):
        good, bad = sorted((crowd.answer(), crowd.answer()), key=crowd.worth, reverse=True)
        worth = max(0.0, min(1.0, 0.5 + crowd.worth(good) / 6))
        rating = crowd.vote("t/a", good, worth)
        corrected = replace(crowd.vote("t/a", good, 1.0, against=bad), teaches=True)
        teach(mind, rating if number % 2 else corrected)
    assert skill(mind, crowd) > 0.85


def test_a_taste_that_turns_round_is_followed() -> None:
    crowd, mind = Crowd(7), empty()
    teach(mind, *mixed(crowd, 400, raters=1))
    crowd.taste = [-part for part in crowd.taste]
    teach(mind, *mixed(crowd, 100, raters=1))
    early = skill(mind, crowd)
    teach(mind, *mixed(crowd, 500, raters=1))
    assert skill(mind, crowd) > max(0.75, early)


def test_the_last_vote_of_a_rater_on_an_answer_counts() -> None:
    crowd, once, often = Crowd(8), empty(), empty()
    base = mixed(crowd, 60, raters=2)
    vote = crowd.vote("t/r0", crowd.answer(), 1.0, "ep_x:0")
    teach(once, *base, replace(vote, wanted=0.0))
    teach(often, *base, *[replace(vote, wanted=float(number % 2), seq=900 + number) for number in range(21)])
    assert often.kept[vote.key].seq == 920
    assert len(often.kept) == len(once.kept) == 61
    one, other = (mind.estimate([vote.view])[0].mean for mind in (once, often))
    assert one == pytest.approx(other, abs=0.12)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_independent_votes_matters_little(seed: int) -> None:
    crowd = Crowd(seed)
    votes = mixed(crowd, 120, raters=2)
    turned = random.Random(seed).sample(votes, len(votes))
    views = [crowd.answer() for _ in range(40)]
    first, second = (teach(empty(), *order).estimate(views) for order in (votes, turned))
    apart = sorted(abs(one.mean - two.mean) for one, two in zip(first, second, strict=True))
    assert apart[len(apart) // 2] < 0.15
    assert max(apart) < 0.45


def again(mind: Mind) -> Mind:
    """Written and read, as at a restart."""
    written = minds.write(("default", "tiny"), mind)
    found = Found(
        written.body,
        [body for _, body in sorted(written.kept.values())],
        [body for _, body in sorted(written.raters.values())],
        [(item, body) for item, body in written.ballots.items() if body],
    )
    size = len(mind.main._mean)
    return minds.read(found, size - 7, 6, {})


def test_a_restart_goes_on_with_the_very_same_numbers() -> None:
    crowd = Crowd(9, 0.1)
    votes, views = mixed(crowd, 260, hostile=0.2), [crowd.answer() for _ in range(5)]
    straight, broken = teach(empty(), *votes), again(teach(empty(), *votes[:130]))
    teach(broken, *votes[130:])
    assert broken.estimate(views) == straight.estimate(views)
    assert broken.ledger.list() == straight.ledger.list()
    assert figures(broken.record) == figures(straight.record)


def test_who_is_forgotten_leaves_nothing_behind() -> None:
    crowd = Crowd(10)
    others, own = mixed(crowd, 120, raters=1), [crowd.thumb("t/ann", crowd.answer(), "ep_1:0") for _ in range(1)]
    own += [crowd.vote("t/ann", crowd.answer(), 1.0) for _ in range(25)]
    together = teach(empty(), *others, *own)
    views = [crowd.answer() for _ in range(30)]
    alone = teach(empty(), *others).estimate(views)
    before = together.estimate(views)
    together.forget("t/ann")
    after = together.estimate(views)

    def apart(found: list[float]) -> float:
        return sum(abs(a - b.mean) for a, b in zip(found, alone, strict=True)) / len(alone)

    assert apart([one.mean for one in after]) < 0.5 * apart([one.mean for one in before])
    assert "t/ann" not in together.ledger.raters
    assert not any(one.rater == "t/ann" for one in together.kept.values())
    assert not any("t/ann" in votes for votes in together.ledger.ballots.values())


def test_one_account_that_votes_ten_thousand_times_moves_little() -> None:
    """T21: beside twenty honest raters, its part of the critic stays within the cap, and its target is not bought."""
    crowd = Crowd(11)
    honest = mixed(crowd, 400, raters=20)
    target = crowd.answer()
    clean, flooded = teach(empty(), *honest), teach(empty(), *honest)
    for number in range(10_000):
        teach(flooded, crowd.vote("t/flood", target, 1.0, f"ep_f{number}:0"))
    masses = {name: one.mass for name, one in flooded.ledger.raters.items()}
    assert masses["t/flood"] <= 0.1 * sum(masses.values()) + 1
    bought = flooded.estimate([target])[0].mean - clean.estimate([target])[0].mean
    assert abs(bought) < 0.35
    assert skill(flooded, crowd) > skill(clean, crowd) - 0.08


def test_a_flood_of_new_names_does_not_buy_its_target() -> None:
    """T20, sybils: three hundred names that come at once and vote up one kind of answer."""
    crowd = Crowd(12)
    honest = mixed(crowd, 500, raters=25)
    clean, flooded = teach(empty(), *honest), teach(empty(), *honest)
    worst = min((crowd.answer() for _ in range(50)), key=crowd.worth)
    for number in range(300):
        for item in range(2):
            teach(flooded, replace(crowd.vote(f"t/sybil{number}", worst, 1.0, f"ep_bad{item}:0"), at=9e4))
    total = sum(one.mass for one in flooded.ledger.raters.values())
    sybils = sum(one.mass for name, one in flooded.ledger.raters.items() if "sybil" in name)
    assert sybils <= 0.1 * total + 1
    bought = flooded.estimate([worst])[0].mean - clean.estimate([worst])[0].mean
    assert bought < 0.4
    assert flooded.estimate([worst])[0].mean < -0.3
    assert skill(flooded, crowd) > skill(clean, crowd) - 0.06
