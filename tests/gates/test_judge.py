import pytest

from anubhav.gates.judge import judge
from anubhav.gates.probes import guard
from anubhav.learning.anchors import anchor_prompts
from anubhav.types.experience import Score


def suite(name: str, *differences: float) -> list[Score]:
    return [Score(f"{name}{number}", name, 0.5, 0.5 + one) for number, one in enumerate(differences)]


BETTER = suite("target-a", *[1.0] * 8, 0.0, 0.0)
SAME = suite("guard-text", *[0.01, -0.01] * 8)


def test_a_gain_beyond_chance_with_sound_guards_passes() -> None:
    verdict = judge([*BETTER, *SAME])
    assert verdict.outcome == "pass"
    assert verdict.scores == (*BETTER, *SAME)
    assert [one.suite for one in verdict.comparisons] == ["guard-text", "target-a"]


@pytest.mark.parametrize(
    ("scores", "outcome", "reason"),
    [
        ([*BETTER, *suite("guard-text", *[-0.2, -0.3] * 8)], "fail", "guard-text got worse"),
        ([*BETTER, *suite("guard-text", *[-1.0, 0.7] * 8)], "inconclusive", "may have got worse"),
        ([*BETTER, *suite("guard-text", *[-0.09] * 16)], "pass", "improved"),
        ([*BETTER, *suite("guard-questions", *[-1.0] * 2, *[0.0] * 18)], "pass", "improved"),
        ([*BETTER, *suite("guard-questions", *[-1.0] * 3, *[0.0] * 17)], "inconclusive", "may have got worse"),
        ([*BETTER, *suite("guard-questions", *[-1.0] * 9, *[0.0] * 11)], "fail", "got worse"),
        ([*suite("target-a", *[-1.0] * 8), *SAME], "fail", "target-a got worse"),
        ([*suite("target-a", 1.0, -1.0, 0.0, 1.0, 0.0, -1.0), *SAME], "inconclusive", "within chance"),
        ([*suite("target-a", *[1.0] * 4), *SAME], "inconclusive", "too few"),
        ([*BETTER, *suite("target-b", *[0.0] * 10), *SAME], "pass", "improved"),
        ([*BETTER, *suite("target-b", *[-0.006, -0.008] * 5), *SAME], "pass", "improved"),
        ([*BETTER, *suite("target-b", *[-0.02, -0.03] * 5), *SAME], "fail", "target-b got worse"),
        ([*BETTER, *suite("target-b", *[0.9, -1.0] * 5, -1.0), *SAME], "inconclusive", "target-b is within chance"),
        ([*suite("target-a", *[0.002] * 10), *SAME], "inconclusive", "too little"),
        (SAME, "inconclusive", "no probe measures"),
        ([], "inconclusive", "no probe measures"),
    ],
)
def test_everything_else_does_not_pass(scores: list[Score], outcome: str, reason: str) -> None:
    verdict = judge(scores)
    assert (verdict.outcome, reason in verdict.reason) == (outcome, True), verdict.reason


def test_nothing_the_gate_asks_is_trained_on() -> None:
    asked = {probe.messages[-1].content for probe in guard() if probe.check == "contains"}
    assert len(guard()) >= 24
    assert not asked & set(anchor_prompts())
