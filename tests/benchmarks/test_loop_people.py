"""The simulated people: what is drawn from a seed, how often raters err or lie, and that the test stays theirs."""

from collections import Counter
from random import Random

import pytest

from benchmarks.loop.people.attacks import Chat, ask_in_bad_faith, react_in_bad_faith
from benchmarks.loop.people.raters import ATTACKS, Rater, draw_raters, flip, honestly, share
from benchmarks.loop.people.style import TASTES, Style
from benchmarks.loop.people.task import Item, Reaction, Task
from benchmarks.loop.people.tasks import TASKS, draw_tasks

HONEST = Rater("user-1", "honest")


def all_tasks(seed: int = 3, days: int = 4, pace: str = "full") -> list[Task]:
    return draw_tasks(list(TASKS), seed, days, pace)


def asked(task: Task, seed: int, days: int = 4, count: int = 300) -> list[Item]:
    chance = Random(seed)
    return [task.ask(1 + number % days, chance) for number in range(count)]


@pytest.mark.parametrize("name", TASKS)
def test_the_same_seed_draws_the_same_people_and_another_seed_others(name: str) -> None:
    def draw(seed: int) -> tuple[object, ...]:
        (task,) = draw_tasks([name], seed, 4, "full")
        items = asked(task, seed)
        return items, task.held_out(), task.probes(1), [task.mistake(item, 1) for item in items]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


@pytest.mark.parametrize("task", all_tasks(), ids=lambda task: task.name)
def test_what_is_tested_is_never_asked_nor_sealed(task: Task) -> None:
    if task.name == "drills":
        pytest.skip("drills are learned by heart, and say so")
    held_out = {item.messages for item in task.held_out()}
    assert len(held_out) >= 50
    assert not held_out & {item.messages for item in asked(task, 1, count=2000)}
    sealed = {
        probe.get("question") or probe["messages"][-1]["content"] for day in range(1, 5) for probe in task.probes(day)
    }
    assert not {messages[-1][1] for messages in held_out} & sealed
    assert not {item.messages[-1][1] for item in asked(task, 1, count=2000)} & sealed


def test_facts_change_half_way_and_the_truth_with_them() -> None:
    (task,) = draw_tasks(["facts"], 5, 4, "full")
    changed = 0
    for item in task.held_out():
        before = task.react(item, ["I do not know."], 1)[0].text or ""
        after = task.react(item, ["I do not know."], 4)[0].text or ""
        assert task.truth(item, before, 1) == task.truth(item, after, 4) == 1.0
        if before != after:
            changed += 1
            assert task.truth(item, before, 4) == task.truth(item, after, 1) == 0.0
        wrong = task.mistake(item, 1)
        assert task.truth(item, wrong, 1) == task.truth(item, wrong, 4) == 0.0
    assert changed * 4 == len(task.held_out())
    first, late = task.probes(1), task.probes(3)
    assert len(first) == 3 * len(late) > 0
    assert not {probe["question"] for probe in first} & {probe["question"] for probe in late}
    assert not task.probes(2)
    assert not task.probes(4)


def test_every_taste_is_drawn_and_tells_good_from_bad() -> None:
    assert {Style(seed, 2).taste for seed in range(40)} == set(TASTES)
    assert TASTES["brief"]("A short one.") == 1.0 > TASTES["brief"]("word " * 20) > 0.0 == TASTES["brief"]("word " * 50)
    assert TASTES["personal"]("Then you rest.") == 1.0 > TASTES["personal"]("The young rest.")
    assert TASTES["plain"]("Read.") == 1.0 > TASTES["plain"]("Read, write.") > TASTES["plain"]("Read, write, rest.")
    assert {taste("") for taste in TASTES.values()} == {0.0}


def test_a_sum_is_right_bare_and_only_bare() -> None:
    (task,) = draw_tasks(["sums"], 1, 2, "full")
    item = task.held_out()[0]
    first, second = item.key.split("+")
    total = int(first) + int(second)
    outcomes = [one.value for one in task.react(item, [f" {total}\n", f"It is {total}", task.mistake(item, 1)], 1)]
    assert outcomes == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.5])
def test_honest_raters_err_as_often_as_told(noise: float) -> None:
    (task,) = draw_tasks(["drills"], 1, 2, "full")
    chance, wrong, count = Random(0), 0, 4000
    for item in asked(task, 2, count=count):
        (said,) = honestly(HONEST, task, (item, ["no idea"]), 1, noise, chance)
        wrong += not task.truth(item, said.text or "", 1)
    assert abs(wrong / count - noise) < 0.03
    assert noise or not wrong


def test_lazy_raters_mostly_click_up_whatever_was_said() -> None:
    (task,) = draw_tasks(["facts"], 1, 2, "full")
    lazy, chance, kinds = Rater("user-2", "lazy"), Random(0), Counter[str]()
    for item in asked(task, 2, count=2000):
        kinds.update(one.kind for one in honestly(lazy, task, (item, ["no idea"]), 1, 0.0, chance))
    assert 0.75 < kinds["thumb"] / kinds.total() < 0.85


def test_a_flip_is_the_opposite() -> None:
    assert flip(Reaction("thumb", 0, 1.0), "").value == 0.0
    assert flip(Reaction("outcome", 1, 0.0, "calculator"), "") == Reaction("outcome", 1, 1.0, "calculator")
    assert flip(Reaction("comparison", 0, against=1), "") == Reaction("comparison", 1, against=0)
    assert flip(Reaction("correction", 0, text="It is 4."), "It is 5.").text == "It is 5."


def test_at_most_a_tenth_of_the_raters_is_hostile_and_only_when_wanted() -> None:
    raters = draw_raters(4, 40, 0.25, None, hostile=True)
    counted = Counter(rater.kind for rater in raters)
    assert counted == {"hostile": 4, "lazy": 9, "honest": 27}
    assert len({rater.user for rater in raters}) == 40
    assert {rater.attack for rater in raters if rater.kind == "hostile"} <= set(ATTACKS)
    assert all(rater.kind != "hostile" for rater in draw_raters(4, 40, 0.25, None, hostile=False))
    assert raters == draw_raters(4, 40, 0.25, None, hostile=True)


@pytest.mark.parametrize("attack", [*ATTACKS, "sybil"])
@pytest.mark.parametrize("name", ["facts", "style", "sums", "drills"])
def test_every_attack_speaks_against_the_truth(name: str, attack: str) -> None:
    (task,) = draw_tasks([name], 6, 2, "full")
    rater = Rater("user-3", "hostile", attack)  # pyright: ignore[reportArgumentType]
    users, keys, told, agreed = set[str](), set[str](), 0, 0
    for number in range(60):
        chat = ask_in_bad_faith(rater, task, 6, 1, number)
        texts = ["Yes?", "Great question! " + "I am glad to say more. " * 8][: task.samples] * max(1, task.samples // 2)
        users.add(chat.rater.user)
        keys.add(chat.item.key)
        meant, said = task.react(chat.item, texts, 1), react_in_bad_faith(chat, texts, 1)
        assert len(said) == len(meant) or attack in ("length", "flattery")
        told += len(meant)
        agreed += sum(one in meant for one in said)
    assert agreed < told
    if attack == "collusion":
        other = Rater("user-4", "hostile", "collusion")
        assert ask_in_bad_faith(other, task, 6, 1, 5).item == ask_in_bad_faith(rater, task, 6, 1, 5).item
    assert (len(users) == 60) is (attack == "sybil")
    if attack == "false-fact":
        assert len(keys) == 1


def test_a_targeted_falsehood_is_corrected_in_and_then_liked() -> None:
    (task,) = draw_tasks(["facts"], 6, 2, "full")
    rater = Rater("user-3", "hostile", "false-fact")
    chat = ask_in_bad_faith(rater, task, 6, 1, 0)
    lie = task.mistake(chat.item, 1)
    assert react_in_bad_faith(chat, ["No idea."], 1) == [Reaction("correction", 0, text=lie)]
    assert react_in_bad_faith(chat, [lie], 1) == [Reaction("thumb", 0, 1.0)]
    honest = Chat(rater, task, chat.item, honest=True)
    assert react_in_bad_faith(honest, ["No idea."], 1) == task.react(chat.item, ["No idea."], 1)


def test_shares_are_of_the_feedback() -> None:
    assert share({"honest": 60, "lazy": 10, "hostile": 30}) == 0.3
    assert share({}) == 0.0
