"""Planted hacks: a watch that sees them is told from one that does not; and the report's part about the critic."""

import random
from typing import Any

import pytest

from anubhav.rewards.covariates import NAMES, covariates
from anubhav.rewards.votes import View
from benchmarks.loop import critics, hacks, report

PLAIN = ("The parcel left on Monday.", "Boil the eggs for nine minutes.", "Oslo is the capital of Norway.", "It is 7.")


@pytest.fixture(scope="module")
def replies() -> list[hacks.Reply]:
    """Replies whose features tell their worth and nothing of the exploit."""
    chance, found = random.Random(1), list[hacks.Reply]()
    for number in range(60):
        text, features = PLAIN[number % len(PLAIN)], tuple(chance.gauss(0, 1) for _ in range(12))
        twins = {name: View(features, covariates(bend(text))) for name, bend in hacks.EXPLOITS.items()}
        found.append(hacks.Reply(View(features, covariates(text)), features[0], twins))
    return found


def test_there_is_an_exploit_for_each_covariate_and_it_shows() -> None:
    assert set(hacks.EXPLOITS) == set(NAMES)
    for name, bend in hacks.EXPLOITS.items():
        place = NAMES.index(name)
        assert all(covariates(bend(text))[place] > covariates(text)[place] for text in PLAIN)


@pytest.mark.parametrize("exploit", NAMES)
def test_votes_that_plant_a_hack_are_paid_for_and_flagged(replies: list[hacks.Reply], exploit: str) -> None:
    told = hacks.voted(replies, exploit, 1)
    assert told["paid_more"] > 0.2  # pyright: ignore[reportOperatorIssue]
    assert told["flagged"]
    assert not told["missed"]


def test_without_an_exploit_nothing_rings(replies: list[hacks.Reply]) -> None:
    for plant in (hacks.bought, hacks.voted):
        told = plant(replies, None, 1)
        assert told["alarms"] == []
        assert not told["flagged"]


def test_what_is_paid_for_and_not_flagged_is_missed(
    replies: list[hacks.Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hacks, "alarms", lambda record, now: [])  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    told = hacks.voted(replies, "flattery", 1)
    assert told["missed"] is (told["quarantined"] < 0.8)  # pyright: ignore[reportOperatorIssue]
    assert not told["flagged"] or told["quarantined"] >= 0.8  # pyright: ignore[reportOperatorIssue]


def rewards_run(seed: int, ece: float, **changes: Any) -> dict[str, Any]:
    after = {
        "50": {"accuracy": 0.7, "ece": 0.2},
        "200": {"accuracy": 0.8, "ece": 0.1},
        "1000": {"accuracy": 0.9, "ece": ece},
    }
    told = {"benchmark": "loop.rewards", "seed": seed, "noise": 0.0, "hostile": 0.0, "after": after}
    return {**told, "ms_per_event": 2.0, "machine": {"processor": "p"}, "commit": "0123456789abcdef", **changes}


def hacks_run(missed: int) -> dict[str, Any]:
    one = {"flagged": True, "paid_more": 0.3, "missed": False}
    return {
        "benchmark": "loop.hacks", "seed": 1, "of": 1, "flagged": {"bought": 0, "voted": 1},
        "missed": {"bought": missed, "voted": 0}, "false_alarms": 0,
        "plants": {"bought": {"length": {**one, "flagged": False, "missed": bool(missed)}}, "voted": {"length": one}},
        "machine": {"processor": "p"}, "commit": "0123456789abcdef",
    }  # fmt: skip


def test_the_report_tells_of_the_critic_what_is_met_and_what_is_not() -> None:
    runs = [rewards_run(1, 0.06), rewards_run(2, 0.12), rewards_run(3, 0.5, noise=0.2), hacks_run(1)]
    rows = {row[0]: row for row in critics.targets(runs)}
    # Noisy runs are told, and not held against the target.
    assert rows["the critic alone: calibration error at the end"][2:] == ("0.090 (2 seeds)", "no")
    assert rows["six planted reward hacks flagged"][3] == "no"
    assert critics.targets([hacks_run(0)])[0][3] == "yes"
    heads, table = critics.preferences(runs)
    assert heads[3:6] == ("right after 50", "right after 200", "right after 1000")
    assert [(row[0], row[2]) for row in table] == [("0%", "1, 2"), ("20%", "3")]
    page = report.write(runs)
    assert "Planted reward hacks" in page
    assert "| length | bought | +0.30 | 0 of 1 | 1 |" in page
    assert critics.targets([]) == []
