"""Courses: every example once an epoch, as many steps as the recipe takes, the same again from the same seed."""

import pytest

from anubhav.learning.courses import plan_course
from anubhav.learning.presets import PRESET
from anubhav.types.tuning import Hyperparameters

AUTO = Hyperparameters()


@pytest.mark.parametrize(
    ("examples", "batch", "epochs"), [(1, 1, 30), (3, 1, 10), (10, 3, 8), (64, 16, 8), (160, 16, 3), (5000, 16, 3)]
)
def test_what_is_left_open_takes_the_recipes_steps(examples: int, batch: int, epochs: int) -> None:
    course = plan_course(AUTO, "supervised", examples, PRESET, 0)
    assert (course.batch, course.epochs) == (batch, epochs)
    assert course.steps_an_epoch * course.epochs >= PRESET.imitation.steps
    assert course.hyperparameters == Hyperparameters(epochs, batch, 1.0, PRESET.beta)


def test_what_is_asked_for_is_done() -> None:
    asked = Hyperparameters(2, 4, 0.5, 0.3)
    course = plan_course(asked, "dpo", 10, PRESET, 0)
    assert course.hyperparameters == asked
    assert course.recipe.steps == 6
    assert course.at(5).learning_rate == pytest.approx(PRESET.comparisons.learning_rate / 2)
    assert plan_course(Hyperparameters(batch_size=64), "dpo", 10, PRESET, 0).batch == 10


def test_a_course_resolved_is_the_same_course() -> None:
    first = plan_course(AUTO, "supervised", 37, PRESET, 5)
    assert plan_course(first.hyperparameters, "supervised", 37, PRESET, 5) == first


def test_every_epoch_sees_all_in_an_order_of_its_own() -> None:
    course = plan_course(Hyperparameters(3, 4), "supervised", 10, PRESET, 5)
    epochs = [list(course.batches(epoch)) for epoch in range(3)]
    assert [len(batch) for batch in epochs[0]] == [4, 4, 2]
    assert all(sorted(sum(epoch, ())) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert list(course.batches(1)) == epochs[1]
    other = plan_course(Hyperparameters(3, 4), "supervised", 10, PRESET, 6)
    assert list(other.batches(1)) != epochs[1]


def test_the_rate_falls_to_nothing_at_the_end() -> None:
    course = plan_course(Hyperparameters(5, 1), "supervised", 10, PRESET, 0)
    rates = [course.at(step).learning_rate for step in range(50)]
    assert max(rates) <= PRESET.imitation.learning_rate
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.03 * PRESET.imitation.learning_rate
