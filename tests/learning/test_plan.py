from typing import Any

from anubhav.learning.imitation import imitate
from anubhav.learning.plan import Plan, make_plan
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


def plan(fresh: list[Feedback], older: list[Feedback] | None = None, **rewards: float) -> Plan:
    judged = {(name[0], int(name[1:])): reward for name, reward in rewards.items()}
    return make_plan(fresh, older or [], EPISODES, judged, answer, 12)


def test_a_correction_is_imitated_and_preferred_and_its_reply_not_rated() -> None:
    found = plan([feedback("a", "correction", 1, text=" no ")], a1=-1.0)
    assert [(one.prompt, one.answer) for one in found.corrections] == [((1, 1), (*map(ord, "no"), 0))]
    assert [(pair.chosen, pair.rejected) for pair in found.pairs] == [((110, 111, 0), (6, 0))]
    assert not found.rated


def test_the_last_correction_of_a_question_counts() -> None:
    found = plan([feedback("a", "correction", text="old"), feedback("b", "correction", text="new")])
    assert [one.text for one in found.corrections] == ["new"]


def test_earlier_corrections_are_replayed_unless_corrected_anew() -> None:
    older = [feedback("c", "correction", text="late"), feedback("c", "correction", text="early")]
    older.append(feedback("a", "correction", text="stale"))
    found = plan([feedback("a", "correction", text="fresh")], older)
    assert [one.text for one in found.replayed] == ["late"]


def test_a_comparison_pairs_two_replies_to_one_prompt_only() -> None:
    same, other = feedback("a", "comparison", against="b:0"), feedback("a", "comparison", against="c:0")
    found = plan([same, other], a0=1.0, b0=-1.0, c0=-1.0)
    assert [(pair.chosen, pair.rejected) for pair in found.pairs] == [((5, 0), (7, 0))]
    assert {(one.answer, one.reward) for one in found.rated} == {((5, 0), 1.0), ((7, 0), -1.0), ((8, 0), -1.0)}


def test_what_is_too_long_or_of_an_unknown_episode_is_left_out() -> None:
    found = plan([feedback("a", "correction", text="much too long"), feedback("z", "thumb", value=1.0)], z0=1.0)
    assert found.empty


def test_imitation_weighs_the_answer_alone_and_as_a_whole() -> None:
    datum = imitate((1, 2, 3), (4, 5), 0.5)
    assert (datum.tokens, datum.inputs["target_tokens"].tolist()) == ((1, 2, 3, 4), [2, 3, 4, 5])
    assert datum.inputs["weights"].tolist() == [0.0, 0.0, 0.25, 0.25]


def test_a_recipe_warms_up_and_decays() -> None:
    recipe = Recipe(steps=10, learning_rate=1.0, warmup=2, decay=True)
    assert [round(recipe.at(step).learning_rate, 2) for step in (0, 1, 5, 9)] == [0.5, 0.9, 0.5, 0.1]
