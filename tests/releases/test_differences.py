"""The intervals do what they say, counted over many drawn histories."""

import random

from anubhav.releases.differences import lift, people_means, student, watch, watch_rates
from anubhav.types.releases import Judged, Rate


def thumbs(rng: random.Random, people: int, liked: float, name: str) -> list[Judged]:
    """People who each like a share of the replies, around `liked`; some say much, most little."""
    found: list[Judged] = []
    for number in range(people):
        own = min(1.0, max(0.0, rng.gauss(liked, 0.2)))
        said = rng.choice((1, 1, 2, 3, 20))
        found.append(Judged(f"{name}-{number}", 0, tuple(1.0 if rng.random() < own else -1.0 for _ in range(said))))
    return found


def test_lift_covers_the_truth() -> None:
    rng, covered, runs = random.Random(1), 0, 300
    for _ in range(runs):
        found = lift(thumbs(rng, 80, 0.7, "a"), thumbs(rng, 12, 0.5, "b"))
        assert found
        covered += found.low <= 0.4 <= found.high
    assert 0.9 <= covered / runs <= 0.99


def test_a_talkative_person_is_one_person() -> None:
    loud = [Judged("loud", 0, (-1.0,) * 1000), Judged("a", 0, (1.0,)), Judged("b", 0, (1.0,))]
    assert sorted(people_means(loud)) == [-1.0, 1.0, 1.0]
    again = [Judged("loud", 1, (1.0,)), Judged("loud", 2, (-1.0,))]
    assert people_means(again) == [0.0]


def test_looking_after_every_person_takes_few_equals_back() -> None:
    rng, taken, runs = random.Random(2), 0, 200
    for _ in range(runs):
        candidate, release = thumbs(rng, 150, 0.7, "a"), thumbs(rng, 150, 0.7, "b")
        looks = (watch(candidate[:count], release[:count]) for count in range(3, 151, 3))
        taken += any(one is not None and one.high < 0 for one in looks)
    assert taken / runs <= 0.05


def test_a_small_share_with_split_opinions_takes_few_equals_back() -> None:
    """Where a few people who agree look most like certainty: each says one thing, and looks come after each of them."""
    rng, taken, runs = random.Random(4), 0, 60
    for _ in range(runs):
        candidate, release = (
            [Judged(f"{number}", 0, (rng.choice((-1.0, 1.0)),)) for number in range(count)] for count in (24, 480)
        )
        looks = (watch(candidate[:count], release[: 20 * count]) for count in range(3, 25))
        taken += any(one is not None and one.high < 0 for one in looks)
    assert taken / runs <= 0.05


def test_a_worse_candidate_is_found_out() -> None:
    rng = random.Random(3)
    found = [
        next(count for count in range(3, 400) if (one := watch(bad[:count], good[:count])) and one.high < 0)
        for bad, good in ((thumbs(rng, 400, 0.4, "a"), thumbs(rng, 400, 0.8, "b")) for _ in range(20))
    ]
    assert sorted(found)[10] < 60


def test_too_few_people_have_no_interval() -> None:
    two = [Judged("a", 0, (1.0,)), Judged("b", 0, (1.0,))]
    assert lift(two, two) is None
    assert watch(two, two) is None


def test_looking_after_every_reply_finds_few_equals_failing() -> None:
    rng, taken, runs = random.Random(5), 0, 300
    for _ in range(runs):
        chance, often = rng.choice((0.01, 0.05, 0.3)), rng.choice((1, 4, 20))
        mine = others = 0
        for count in range(1, 151):
            mine += rng.random() < chance
            others += sum(rng.random() < chance for _ in range(often))
            found = watch_rates(Rate(mine, count), Rate(others, often * count))
            if found is not None and found.low > 0:
                taken += 1
                break
    assert taken / runs <= 0.05


def test_what_fails_more_often_is_found_out() -> None:
    """By the replies it takes when one in so many fails, and the release's never do."""
    for every, most in ((1, 10), (2, 30), (10, 250)):
        needed = next(
            count
            for count in range(every, 1000, every)
            if (one := watch_rates(Rate(count // every, count), Rate(0, 20 * count))) and one.low > 0
        )
        assert needed <= most, (every, needed)
    assert watch_rates(Rate(2, 2), Rate(0, 1000)) is None


def test_student() -> None:
    """Tables of the t distribution."""
    for freedom, wanted in ((4, 2.776), (10, 2.228), (30, 2.042), (1000, 1.962)):
        assert abs(student(0.975, freedom) - wanted) < 0.01
