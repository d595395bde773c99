"""What pairs of a release's and a candidate's replies to the same prompts say, and how seldom equals are taken back."""

import random
from collections.abc import Sequence

import pytest

from anubhav.releases.shadows import Shadowed, harm, summarise
from anubhav.types.releases import Pair, Said

WELL = Said(10)
LOST = Said(failed=True)
CUT = Said(10, cut=True)


def pairs(*said: tuple[Said, Said]) -> list[Pair]:
    """(release, candidate) each."""
    return [Pair(f"ep_{number}", None, release, candidate) for number, (release, candidate) in enumerate(said)]


def liked(differences: Sequence[float]) -> Shadowed:
    return summarise(pairs(*((Said(10, worth=0.2), Said(10, worth=0.2 + one)) for one in differences)))


def test_only_what_one_side_alone_fails_at_counts() -> None:
    found = summarise(
        pairs((WELL, LOST), (LOST, WELL), (LOST, LOST), (CUT, CUT), (WELL, CUT), (CUT, LOST), (WELL, WELL))
    )
    assert found.failed == (3, 1)
    assert found.replies == 7
    assert found.p == 5 / 16


@pytest.mark.parametrize(("failing", "back"), [(5, False), (6, True), (20, True)])
def test_failing_where_the_release_does_not_takes_it_back(failing: int, back: bool) -> None:
    found = summarise(pairs(*[(WELL, LOST)] * failing, *[(WELL, WELL)] * (20 - failing)))
    assert ("it fails" in harm(found, 0.1, trusted=False)) is back


def test_a_critic_that_is_not_trusted_says_nothing() -> None:
    found = liked([-0.5, -0.4, -0.6] * 7)
    assert harm(found, 0.1, trusted=False) == ""
    assert "expects people to like it less" in harm(found, 0.1, trusted=True)
    assert harm(liked([-0.05, -0.04, -0.06] * 7), 0.1, trusted=True) == "", "within the margin"


def test_equals_are_seldom_taken_back() -> None:
    rng, runs = random.Random(1), 2000
    taken = 0
    for _ in range(runs):
        chance = rng.choice((0.05, 0.3))
        sides = [[Said(9, rng.random() < chance, worth=rng.gauss(0.1, 0.4)) for _ in range(20)] for _ in range(2)]
        taken += bool(harm(summarise(pairs(*zip(*sides, strict=True))), 0.0, trusted=True))
    assert taken / runs <= 0.05


def test_means_are_of_what_is_known() -> None:
    found = summarise(pairs((Said(10, pace=0.1), Said(30, pace=0.2)), (Said(20), LOST)))
    assert found.tokens == (15, 15)
    assert found.pace == (0.2, 0.1)
    assert found.worth is None
    assert found.difference is None
