import math

import pytest

from anubhav.cli.demo.general import QUESTIONS
from anubhav.learning.anchors import Anchor, anchor_prompts, hold, take, take_part


def test_all_anchors_have_their_turn() -> None:
    assert [take("abcde", step, 2) for step in range(3)] == [["a", "b"], ["c", "d"], ["e", "a"]]
    assert take([], 1, 4) == []


def test_parts_take_turns_and_none_is_too_small_to_say_much() -> None:
    dealt = [take_part("abcdefgh", step, 4, 3) for step in range(3)]
    assert dealt == [["a", "c", "e", "g"], ["b", "d", "f", "h"], ["a", "c", "e", "g"]]
    assert take_part("abc", 5, 4, 8) == ["a", "b", "c"]
    assert take_part([], 0, 4, 8) == []


def test_an_anchor_weighs_the_likely_tokens_by_how_likely_they_were_and_a_rare_one_that_was_said_fully() -> None:
    likely = ((7, math.log(0.6)), (8, math.log(0.3)))
    datum = hold(Anchor((1, 2, 3), (8, 9), (likely, likely)), 0.5)
    assert (datum.tokens, datum.inputs["target_tokens"].shape) == ((1, 2, 3, 8), (4, 3))
    assert datum.inputs["target_tokens"].tolist() == [0, 0, 0, 0, 0, 0, 7, 8, 8, 7, 8, 9]
    # Half the weight for each of the two tokens said; 8 is among the likely ones already, 9 is not.
    expected = [0.0] * 6 + [0.15, 0.075, 0.0, 0.15, 0.075, 0.25]
    assert datum.inputs["weights"].tolist() == pytest.approx(expected)


def test_the_estimate_is_unbiased_whatever_the_candidate_believes() -> None:
    truth, belief = [0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]
    likely = tuple((token, math.log(truth[token])) for token in (0, 1))
    expected = 0.0
    for said, chance in enumerate(truth):
        datum = hold(Anchor((9,), (said,), (likely,)), 1.0)
        pairs = zip(datum.inputs["target_tokens"].tolist(), datum.inputs["weights"].tolist(), strict=True)
        expected -= chance * sum(weight * math.log(belief[int(token)]) for token, weight in pairs)
    assert expected == pytest.approx(-sum(p * math.log(q) for p, q in zip(truth, belief, strict=True)), abs=1e-6)


def test_no_anchor_is_a_question_the_demo_measures_forgetting_with() -> None:
    assert not {question for question, _ in QUESTIONS} & set(anchor_prompts())
