from anubhav.learning.imitation import imitate, sureness
from anubhav.types.arrays import floats


def test_only_the_answer_weighs_and_its_tokens_share_the_weight() -> None:
    datum = imitate((1, 2, 3), (4, 5), 0.5)
    assert datum.tokens == (1, 2, 3, 4)
    assert datum.inputs["weights"].tolist() == [0.0, 0.0, 0.25, 0.25]
    assert datum.inputs["target_tokens"].tolist() == [2, 3, 4, 5]


def test_the_least_sure_answer_counts_and_prompts_and_anchors_do_not() -> None:
    told = [floats([-9.0, -1.0, -2.0]), floats([-0.25]), floats([-50.0, -50.0])]
    assert sureness([(4, 5), (6,)], told) == -1.5
    assert sureness([(6,)], told[1:]) == -0.25
