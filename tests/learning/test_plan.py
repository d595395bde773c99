from typing import Any

from anubhav.learning.imitation import imitate
from anubhav.learning.origins import Origin
from anubhav.learning.plan import Material, Plan, Valued, make_plan
from anubhav.learning.presets import Recipe
from anubhav.types.chat import Message
from anubhav.types.experience import Choice, Episode, Feedback


def episode(name: str, prompt: tuple[int, ...], *answers: tuple[int, ...]) -> Episode:
    choices = tuple(Choice(tokens, (-1.0,) * len(tokens), "said", "stop") for tokens in answers)
    return Episode(name, "t", "default", "base", None, (Message("user", name),), prompt, choices, 1.0, 0.0, 1.0)


def feedback(episode: str, kind: Any, choice: int = 0, **fields: Any) -> Feedback:
    return Feedback(f"fb_{episode}{choice}{kind}{fields}", "t", episode, choice, kind, 0.0, **fields)


def answer(text: str) -> tuple[int, ...]:
    return (*map(ord, text), 0)


EPISODES = {
    "a": episode("a", (1, 1), (5, 0), (6, 0)),
    "b": episode("b", (1, 1), (7, 0)),
    "c": episode("c", (2, 2), (8, 0)),
}


def plan(fresh: list[Feedback], older: list[Feedback] | None = None, **fields: Any) -> Plan:
    """Everybody is believed, unless `fields` say otherwise; thumbs are what is thought of their choices."""
    everybody = {one.id: 1.0 for one in (*fresh, *(older or []))}
    values = {
        (one.episode, one.choice): Valued(2 * (one.value or 0.0) - 1, 1.0, (one.id,), one.kind == "outcome")
        for one in fresh
        if one.kind in ("thumb", "rating", "outcome")
    }
    material: dict[str, Any] = {"episodes": EPISODES, "weights": everybody, "values": values, **fields}
    return make_plan(Material(fresh, older or [], **material), answer, 12)


def test_a_correction_is_imitated_and_preferred_and_its_reply_not_rated() -> None:
    corrected = feedback("a", "correction", 1, text=" no ")
    found = plan([corrected, feedback("a", "thumb", 1, value=0.0)])
    assert [(one.prompt, one.answer) for one in found.corrections] == [((1, 1), (*map(ord, "no"), 0))]
    assert [(pair.chosen, pair.rejected) for pair in found.pairs] == [((110, 111, 0), (6, 0))]
    assert not (found.rated or found.likings)
    assert found.corrections[0].origins == (Origin("a", 1, corrected.id, "imitated"),)
    assert found.pairs[0].origins == (Origin("a", 1, corrected.id, "rejected"),)


def test_the_last_correction_of_a_question_counts() -> None:
    found = plan([feedback("a", "correction", text="old", seq=1), feedback("b", "correction", text="new", seq=2)])
    assert [one.text for one in found.corrections] == ["new"]
    assert found.left == {"corrected again": 1}


def test_a_stranger_does_not_undo_what_several_people_say_but_a_change_does() -> None:
    say = [feedback("a", "correction", text="47", seq=number, rater=f"r{number}") for number in range(3)]
    other = feedback("b", "correction", text="qq", seq=9, rater="mal")
    found = plan([*say, other])
    assert [(one.text, one.weight, len(one.origins)) for one in found.corrections] == [("47", 1.0, 3)]
    assert ([pair.chosen for pair in found.pairs], found.left) == ([(52, 55, 0)] * 3, {"outvoted": 1})
    [changed] = plan([*say[:2], other]).corrections
    assert changed.text == "qq"
    # Whoever is hardly trusted needs more than the last word.
    weights = {one.id: 1.0 for one in say} | {other.id: 0.3}
    assert [one.text for one in plan([say[0], other], weights=weights).corrections] == ["47"]


def test_earlier_corrections_are_replayed_unless_corrected_anew() -> None:
    older = [feedback("c", "correction", text="late", seq=2), feedback("c", "correction", text="early", seq=1)]
    older.append(feedback("a", "correction", text="stale"))
    found = plan([feedback("a", "correction", text="fresh")], older)
    assert [one.text for one in found.replayed] == ["late"]


def test_a_comparison_pairs_two_replies_to_one_prompt_only() -> None:
    same, other = feedback("a", "comparison", against="b:0"), feedback("a", "comparison", against="c:0")
    found = plan([same, other])
    assert [(pair.chosen, pair.rejected) for pair in found.pairs] == [((5, 0), (7, 0))]
    assert found.pairs[0].origins == (Origin("a", 0, same.id, "preferred"), Origin("b", 0, same.id, "rejected"))
    assert found.left == {"compared across prompts": 1}


def test_what_is_too_long_or_of_an_unknown_episode_is_left_out() -> None:
    found = plan([feedback("a", "correction", text="much too long"), feedback("z", "thumb", value=1.0)])
    assert found.empty


def test_a_lone_thumb_is_liked_and_several_answers_to_a_prompt_are_rated_against_each_other() -> None:
    lone = plan([feedback("c", "thumb", value=0.0)])
    assert [(one.answer, one.good, one.weight) for one in lone.likings] == [((8, 0), False, 1.0)]
    assert not lone.rated
    assert lone.likings[0].origins[0].role == "disliked"
    several = plan([feedback("a", "thumb", value=1.0), feedback("b", "thumb", value=0.0)])
    assert [(one.answer, one.reward, one.logprobs) for one in several.rated] == [
        ((5, 0), 1.0, (-1.0, -1.0)),
        ((7, 0), -1.0, (-1.0, -1.0)),
    ]
    assert not several.likings


def test_samples_of_one_request_that_are_all_the_same_are_a_group_and_not_so_many_likes() -> None:
    same = {"s": episode("s", (3, 3), (9, 0), (9, 0))}
    found = plan([feedback("s", "thumb", choice, value=1.0) for choice in (0, 1)], episodes=same)
    assert (len(found.rated), found.likings) == (2, ())


def test_an_outcome_is_a_verified_reward_even_of_a_lone_answer_unless_that_is_off_policy() -> None:
    outcome = feedback("c", "outcome", value=1.0, text="tests")
    assert [(one.answer, one.reward) for one in plan([outcome]).rated] == [((8, 0), 1.0)]

    def never(_: Episode) -> bool:
        return False

    old = plan([outcome], onpolicy=never)
    assert ([one.good for one in old.likings], old.rated) == ([True], ())


def test_a_judgement_without_weight_teaches_nothing_and_a_neutral_one_neither() -> None:
    untrusted = [feedback("a", "correction", text="no"), feedback("a", "comparison", against="b:0")]
    assert plan(untrusted, weights={}, values={}).empty
    rating = feedback("c", "rating", value=0.51)
    assert plan([rating]).left == {"neutral": 1}


def test_an_imitated_correction_weighs_what_its_giver_is_trusted() -> None:
    corrected = feedback("a", "correction", text="no")
    found = plan([corrected], weights={corrected.id: 0.25})
    assert (found.corrections[0].weight, found.pairs[0].weight) == (0.25, 0.25)


def test_imitation_weighs_the_answer_alone_and_as_a_whole() -> None:
    datum = imitate((1, 2, 3), (4, 5), 0.5)
    assert (datum.tokens, datum.inputs["target_tokens"].tolist()) == ((1, 2, 3, 4), [2, 3, 4, 5])
    assert datum.inputs["weights"].tolist() == [0.0, 0.0, 0.25, 0.25]


def test_a_recipe_warms_up_and_decays() -> None:
    recipe = Recipe(steps=10, learning_rate=1.0, warmup=2, decay=True)
    assert [round(recipe.at(step).learning_rate, 2) for step in (0, 1, 5, 9)] == [0.5, 0.9, 0.5, 0.1]
