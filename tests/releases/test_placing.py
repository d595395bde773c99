from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from anubhav.releases.placing import place
from anubhav.types.releases import ReleasePolicy, Trial

STEPS = (1, 5, 25, 100)
PEOPLE = [f"ada/person-{number}" for number in range(2000)]


def trial(step: int, name: str = "tr_1") -> Trial:
    return Trial(name, "default", "tinker://a", "ad_a", "lap_1", "ada", step, 0.0, 0.0)


def hearing(arm: str, policy: ReleasePolicy, running: Trial | None) -> set[str]:
    return {one for one in PEOPLE if place(policy, running, "default", one) == arm}


def test_a_larger_share_only_adds_people() -> None:
    policy = ReleasePolicy(STEPS)
    heard = [hearing("canary", policy, trial(step)) for step in range(4)]
    assert all(few <= more for few, more in pairwise(heard))
    shares = [len(one) / len(PEOPLE) for one in heard]
    assert all(abs(share - step / 100) < 0.03 for share, step in zip(shares, STEPS, strict=True))


def test_another_trial_draws_others() -> None:
    policy = ReleasePolicy((25,))
    first, second = (hearing("canary", policy, trial(0, name)) for name in ("tr_1", "tr_2"))
    assert len(first & second) < 0.5 * len(first)


def test_who_is_held_back_stays_so_whatever_is_tried() -> None:
    policy = ReleasePolicy((50,), holdback=10)
    alone = hearing("holdback", policy, None)
    assert 0.07 < len(alone) / len(PEOPLE) < 0.13
    assert hearing("holdback", policy, trial(0)) == alone == hearing("holdback", policy, trial(0, "tr_2"))


@given(st.integers(0, 50), st.integers(0, 3))
def test_nobody_known_always_hears_the_release(holdback: int, step: int) -> None:
    assert place(ReleasePolicy(STEPS, holdback=holdback), trial(step), "default", None) == "stable"
