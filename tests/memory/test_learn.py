"""A policy learns from labels and from whole answers, and stays where it was with nothing to learn from."""

import random

import pytest

from anubhav.memory.features import NAMES
from anubhav.memory.labels import find_needed, label
from anubhav.memory.learn import Example, Scene, answerable, fit, imagine, reinforce
from anubhav.memory.scoring import FIXED, worth
from anubhav.memory.solving import solve
from anubhav.types.memory import Decision, MemoryPolicy
from tests.memory.conftest import Talk, count

NOTHING = MemoryPolicy("nothing", {})


def test_a_small_system_is_solved() -> None:
    matrix = [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]
    found = solve(matrix, [1.0, 2.0, 3.0])
    assert [sum(a * x for a, x in zip(row, found, strict=True)) for row in matrix] == pytest.approx([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="math domain"):
        solve([[-1.0]], [1.0])


def test_the_fit_finds_the_rates_the_labels_were_drawn_with() -> None:
    """Drawn from Poisson(exp(-2 + 1.5 names - 1 tool)); no other feature matters."""
    rng = random.Random(3)
    examples: list[Example] = []
    for _ in range(6000):
        features = {"names": rng.random() * 2, "tool": float(rng.random() < 0.3), "length": rng.random()}
        rate = worth(features, MemoryPolicy("true", {"names": 1.5, "tool": -1.0})) * 0.135
        examples.append(Example(features, float(rng.random() < rate) if rate < 1 else 1.0))
    learned = fit(examples, NOTHING, "learned")
    assert learned.name == "learned"
    assert learned.weights["names"] > 0.8
    assert learned.weights["tool"] < -0.7
    assert abs(learned.weights["length"]) < 0.25


def test_the_fit_solves_its_own_equations() -> None:
    """At the optimum the expected and the seen needs agree for every feature, up to the prior."""
    rng = random.Random(5)
    examples = [
        Example({"user": float(rng.random() < 0.5), "age": rng.random()}, float(rng.random() < 0.2)) for _ in range(500)
    ]
    learned = fit(examples, NOTHING, "learned")
    rates = [worth(one.features, learned) for one in examples]
    factor = sum(one.needed for one in examples) / sum(rates)
    for name in ("user", "age"):
        off = sum((one.needed - factor * rate) * one.features[name] for one, rate in zip(examples, rates, strict=True))
        assert off == pytest.approx(4.0 * learned.weights[name], abs=1e-3)


def test_without_anything_needed_the_policy_stays() -> None:
    assert fit([Example({"user": 1.0}, 0.0)], FIXED, "same").weights == FIXED.weights
    assert fit([], FIXED, "same").weights == FIXED.weights


def scenes(seed: int, number: int) -> list[Scene]:
    """Thirty chunks, room for eight; what is asked about stands in those with a number, seldom in the long ones."""
    rng = random.Random(seed)
    found: list[Scene] = []
    for _ in range(number):
        facts = set(rng.sample(range(30), 6))
        features = tuple(
            {"numbers": float(i in facts), "length": rng.random() * 2, "user": float(rng.random() < 0.5)}
            for i in range(30)
        )
        found.append(Scene(features, (10,) * 30, tuple(frozenset({i}) for i in sorted(facts)), 80))
    return found


def test_reinforcement_finds_what_answers_need_from_rewards_alone() -> None:
    wrong = MemoryPolicy("wrong", {"length": 1.0})
    learned = reinforce(scenes(1, 20), wrong, "learned", seed=1)
    held_out = scenes(2, 20)
    before = sum(answerable(scene, wrong) for scene in held_out) / 20
    after = sum(answerable(scene, learned) for scene in held_out) / 20
    assert before < 0.4
    assert after > 0.9
    assert reinforce(scenes(1, 20), wrong, "learned", seed=1) == learned


def test_every_learned_weight_has_a_name() -> None:
    assert set(reinforce(scenes(1, 2), FIXED, "learned", rounds=1).weights) == set(NAMES)
    assert set(FIXED.weights) <= set(NAMES)


def test_a_correction_for_something_forgotten_labels_the_chunk_that_was_dropped(talk: Talk) -> None:
    memory, _ = talk("I had tea with Anna.", "The weather is nice in Goa.")
    lost = Decision("ch_lost", "dropped", 1, 0, "user", 1.0, 0, "My passport number is 88213.", "", "no room")
    examples = label(memory.chunks, [lost], "What is my passport number?", "It is 88213.", 5, count)
    assert [one.needed for one in examples] == [1.0, 0.0, 0.0]
    assert examples[0].weight > examples[1].weight
    assert examples[0].features["numbers"] > 0


def test_a_chunk_counts_once_and_as_it_was_when_it_was_whole(talk: Talk) -> None:
    memory, _ = talk("I had tea with Anna.", "The weather is nice in Goa.")
    first = memory.chunks[0]
    lost = [
        Decision("ch_lost", "dropped", 3, 0, "user", 1.0, 0, "passport 88213", "", "no room"),
        Decision("ch_lost", "compressed", 1, 0, "user", 1.0, 9, "My passport is the 88213.", "passport 88213", ""),
        Decision(first.id, "compressed", 1, 0, "user", 1.0, 9, "I had tea with Anna at 17:40.", first.text, ""),
    ]
    examples = label(memory.chunks, lost, "When was the tea?", "At 17:40.", 5, count)
    assert [one.needed for one in examples] == [0.0, 1.0, 0.0]
    assert [one.tokens for one in examples] == [
        count(f"user: {text}\n") for text in (lost[1].before, lost[2].before, memory.chunks[1].text)
    ]
    assert examples[1].weight > examples[0].weight


def test_a_judged_reply_is_a_scene_with_room_for_half_of_what_was_there() -> None:
    examples = [Example({"user": 1.0}, 1.0, tokens=10), Example({"tool": 1.0}, 0.0, tokens=20)]
    scene = imagine(examples)
    assert scene == Scene(({"user": 1.0}, {"tool": 1.0}), (10, 20), (frozenset({0}),), 15)
    assert (answerable(scene, FIXED), answerable(scene, MemoryPolicy("wrong", {"tool": 9.0}))) == (1.0, 1.0)
    assert imagine([*examples, Example({}, 0.0)]) is None, "a label of the time when tokens were not counted"


def test_an_answer_that_tells_nothing_of_the_memory_labels_nothing(talk: Talk) -> None:
    memory, _ = talk("I had tea with Anna.")
    assert label(memory.chunks, [], "What is my passport number?", "It is 88213.", 5, count) == ()


def test_of_several_chunks_with_the_same_name_the_one_the_question_is_about_was_needed(talk: Talk) -> None:
    memory, _ = talk("I had tea with Anna.", "My sister is called Anna and lives in Oslo.", "Anna sang yesterday.")
    needed = find_needed(memory.chunks, "What is my sister called?", "Anna.")
    assert needed == {memory.chunks[1].id}
