"""The simulation's own arithmetic, and a whole tiny run over a table that learns: days, laps, rivals and the truth."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.loop import lifts, poison, records, simulate, told, truths
from benchmarks.loop.days import Town, by_kind, count, live
from benchmarks.loop.exam import Exam, Marks
from benchmarks.loop.line import Asked, Line, Refused, Reply
from benchmarks.loop.methods.offline import OfflineReward
from benchmarks.loop.people import general
from benchmarks.loop.people.raters import draw_raters, share
from benchmarks.loop.people.task import Item, Reaction, one_question
from benchmarks.loop.people.tasks import draw_tasks
from benchmarks.loop.simulation import Plan, Repairs, Simulation, baselines, hold_back, kept


class Parrot(Line):
    """A server that says one thing to everybody and remembers what it was told."""

    def __init__(self, said: str = "I do not know.") -> None:
        self.said, self.asked, self.given, self.sealed = said, list[Asked](), list[dict[str, object]](), 0

    def ask(self, asked: Sequence[Asked], key: str | None = None) -> list[Reply]:
        start = len(self.asked)
        self.asked += asked
        return [Reply(f"ep_{start + place}", (self.said,) * one.n) for place, one in enumerate(asked)]

    def judge(self, feedback: Sequence[dict[str, object]]) -> None:
        self.given += feedback


def town(seed: int, hostile: float, noise: float = 0.1) -> Town:
    tasks = draw_tasks(["facts", "style", "sums"], seed, 4, "full")
    return Town(seed, tasks, draw_raters(seed, 20, 0.2, None, hostile=hostile > 0), noise, hostile)


@pytest.mark.parametrize("hostile", [0.0, 0.1, 0.3, 0.5])
def test_the_hostile_share_of_the_feedback_is_as_told_and_from_a_tenth_of_the_raters(hostile: float) -> None:
    here = town(2, hostile)
    for day in (1, 2):
        told_today = live(Parrot(), here, "default", day)
        assert abs(share(by_kind(told_today, here)) - hostile) < 0.02
    enemies = {record.user for record in told_today if record.user in {rater.user for rater in here.enemies}}
    assert len(enemies) == (2 if hostile else 0)


def test_a_day_is_drawn_from_the_seed() -> None:
    def day(seed: int) -> list[records.Record]:
        return live(Parrot(), town(seed, 0.3), "default", 1)

    assert day(4) == day(4)
    assert day(4) != day(5)


def test_the_truth_never_leaks_into_what_is_trained_on() -> None:
    line, here = Parrot(), town(3, 0.3)
    exam = Exam(line, here.tasks, 3)
    tested = {item.messages for items in exam.items.values() for item in items}
    said = [record for day in (1, 2, 3) for record in live(line, here, "default", day)]
    assert len(said) > 100
    assert not tested & {record.item.messages for record in said}
    assert not tested & {asked.item.messages for asked in line.asked}
    assert count(said) == len(line.given)
    fields = {name for one in line.given for name in one}
    assert fields <= {"target", "kind", "rater", "value", "text"}
    users = {asked.user for asked in line.asked}
    assert all(asked.user and asked.session for asked in line.asked)
    assert {one["rater"] for one in line.given} <= users
    # What the exam asks is nobody's conversation, and the server keeps nothing of it.
    exam.mark("parrot", "default@stable", 1)
    assert all(asked.user is None and asked.session is None and not asked.kept for asked in line.asked[-len(tested) :])


def test_the_exam_asks_a_voice_once_and_marks_it_anew_when_facts_change() -> None:
    line, here = Parrot(), town(3, 0.0)
    facts = here.tasks[0]
    item = next(one for one in facts.held_out() if facts.react(one, [""], 1) != facts.react(one, [""], 4))
    line.said = facts.react(item, [""], 1)[0].text or ""
    exam = Exam(line, [facts], 3)
    before = exam.mark("parrot", "default", 1)
    asked = len(line.asked)
    after = exam.mark("parrot", "default", 4)
    assert len(line.asked) == asked == len(facts.held_out()) + len(general.questions())
    assert before.success > after.success == 0.0


def test_who_says_what_hostile_raters_taught_is_deceived() -> None:
    line, here = Parrot(), town(3, 0.3)
    facts, exam = here.tasks[0], Exam(Parrot(), here.tasks, 3)
    assert exam.deceived("honest", "default", 1) == 0.0
    items = facts.held_out()
    line.said = facts.mistake(items[0], 1)
    share_of_one = sum(item.key == items[0].key for item in items) / len(items)
    assert Exam(line, here.tasks, 3).deceived("liar", "default", 1) == pytest.approx(share_of_one)


def test_win_rates_are_means_over_tasks_of_paired_items() -> None:
    ours, base = Marks({"a": [1.0, 0.5, 0.0], "b": [1.0]}), Marks({"a": [0.0, 0.5, 0.0], "b": [0.0]})
    assert ours.win_rate(base) == pytest.approx((2 / 3 + 1.0) / 2)
    assert base.win_rate(ours) == pytest.approx((1 / 3 + 0.0) / 2)
    assert ours.win_rate(ours) == 0.5
    assert ours.success == pytest.approx((0.5 + 1.0) / 2)


def test_a_repair_counts_once_it_was_right_and_until_it_is_wrong() -> None:
    (facts,) = draw_tasks(["facts"], 3, 9, "full")
    items = [facts.ask(1, Random(number)) for number in range(2)]
    line, repairs = Parrot(facts.react(items[0], [""], 1)[0].text or ""), Repairs(dict.fromkeys(items))
    exam = Exam(line, [facts], 3)
    assert repairs.look(exam, "one", "default", 1) == {"earlier": 0, "kept": 0, "right_now": 1}
    assert repairs.look(exam, "one", "default", 2) == {"earlier": 1, "kept": 1, "right_now": 1}
    line.said = "forgotten"
    assert repairs.look(exam, "two", "default", 3) == {"earlier": 1, "kept": 0, "right_now": 0}
    # A fact that changed is no repair that was undone.
    changed = next(one for one in facts.held_out() if facts.react(one, [""], 1) != facts.react(one, [""], 9))
    line.said, repairs = facts.react(changed, [""], 1)[0].text or "", Repairs({changed: None})
    assert repairs.look(exam, "three", "default", 1)["right_now"] == 1
    assert repairs.look(exam, "three", "default", 9) == {"earlier": 0, "kept": 0, "right_now": 0}
    assert kept([{"repairs": {"earlier": 4, "kept": 3}}]) == 0.75
    assert kept([{"repairs": {"earlier": 0, "kept": 0}}]) is None


def record(item: Item, texts: tuple[str, ...], *reactions: Reaction) -> records.Record:
    return records.Record(1, "user-1", item, "ep_1", texts, reactions)


def test_records_become_feedback_and_pairs_and_come_back_from_a_file(tmp_path: Path) -> None:
    item = one_question("facts", "k", "How long?")
    told_here = [
        record(item, ("no",), Reaction("correction", 0, text="47 days.")),
        record(item, ("a", "b"), Reaction("comparison", 1, against=0), Reaction("thumb", 0, 0.0)),
        record(
            item, ("5", "6", "7"), *(Reaction("outcome", place, float(place == 2), "calculator") for place in range(3))
        ),
        record(item, ("no",), Reaction("correction", 0, text="48 days.")),
    ]
    assert records.corrections(told_here) == [(item, "48 days.")]
    chosen = [(pair.chosen, pair.rejected) for pair in records.pairs(told_here)]
    assert chosen == [("47 days.", "no"), ("b", "a"), ("7", "5"), ("48 days.", "no")]
    assert told_here[1].feedback() == [
        {"target": "ep_1:1", "kind": "comparison", "rater": "user-1", "value": "ep_1:0"},
        {"target": "ep_1:0", "kind": "thumb", "rater": "user-1", "value": 0},
    ]
    records.write(told_here, tmp_path / "records.jsonl")
    assert records.read(tmp_path / "records.jsonl") == told_here


def test_an_offline_reward_learns_what_was_liked_and_nothing_later() -> None:
    item = one_question("style", "k", "What is tea good for?")
    liked = [
        record(item, (f"Short {n}.", "A very long and winding story " * 4), Reaction("comparison", 0, against=1))
        for n in range(20)
    ]
    reward = OfflineReward(liked, seed=1)
    assert reward.score(item, "Short one.") > 0.6 > 0.4 > reward.score(item, "A very long and winding story " * 3)


def test_figures_of_a_table_of_laps() -> None:
    rows = [
        {"base_success": 0.1, "baselines": {"sft": {"success": 0.3}}},
        {"base_success": 0.2, "baselines": {"sft": {"success": 0.4}}},
    ]
    assert baselines(rows) == {"nothing": 0.2, "sft": 0.4}
    assert told.first({"a": {"b": 0.5}, "c": None}, "c", "a.x", "a.b") == 0.5
    assert told.first(None, "a") is None


def test_the_true_lift_is_what_people_s_reactions_to_the_alias_are_worth_above_those_to_the_base() -> None:
    assert (
        lifts.reward([Reaction("thumb", 0, 1.0), Reaction("thumb", 1, 0.0), Reaction("comparison", 0, against=1)]) == 0
    )
    assert lifts.reward([Reaction("correction", 0, text="It is 4.")]) == -1.0
    assert lifts.reward([Reaction("comparison", 0, against=1)]) is None
    (facts,) = draw_tasks(["facts"], 3, 1, "full")

    class Two(Parrot):
        """The alias is always right, the base never."""

        def ask(self, asked: Sequence[Asked], key: str | None = None) -> list[Reply]:
            assert not any(one.kept for one in asked)
            right = [facts.react(one.item, [""], 1)[0].text or "" for one in asked]
            return [
                Reply("ep", (text if one.model == "default@stable" else "no idea",))
                for one, text in zip(asked, right, strict=True)
            ]

        def base_model(self) -> str:
            return "base"

    assert lifts.true_lift(Two(), Plan(3, 1, ("facts",), lazy=0.0).town(), "default", 1) == 2.0
    # Who clicks without reading likes both the same.
    assert 0 < lifts.true_lift(Two(), Plan(3, 1, ("facts",), lazy=0.5).town(), "default", 1) < 2.0


def test_the_lift_that_the_server_tells_is_held_against_the_mean_of_the_days() -> None:
    class Teller(Parrot):
        def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
            return {"alias": "default", "overall": self.said and {"low": 0.1, "high": 0.5}, "why": "few people"}

    def figures(said: str, *lifts_told: float) -> dict[str, Any]:
        plan = Plan(3, 2, ("facts",), holdback=0.2)
        run = Simulation(plan, Teller(said), plan.town(), Exam(Teller(), plan.town().tasks, 3), {})
        run.table = [{"true_lift": value} for value in lifts_told]
        return truths.lift_figures(run)

    assert figures("", 0.0)["lift_covers_truth"] is None
    assert figures("", 0.0)["lift_reason"] == "few people"
    assert (figures("told", 0.0, 0.8)["lift_covers_truth"], figures("told", 0.0, 0.8)["true_lift"]) == (True, 0.4)
    assert figures("told", 0.7, 0.8)["lift_covers_truth"] is False


def test_a_share_is_held_back_by_the_release_policy_and_one_that_the_server_refuses_ends_the_run() -> None:
    class Clerk(Parrot):
        def __init__(self) -> None:
            super().__init__()
            self.policy: dict[str, Any] = {"steps": [5], "holdback": 0, "since": 3.0}

        def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
            if body and body["holdback"] > 50:
                raise Refused(422, "at most 50")
            self.policy = body or self.policy
            return {"policy": self.policy}

    line = Clerk()
    hold_back(line, "default", 0.05)
    assert line.policy == {"steps": [5], "holdback": 5}
    with pytest.raises(SystemExit, match="No holdback"):
        hold_back(line, "default", 0.9)


def test_what_is_unknown_is_refused_before_a_server_is_started() -> None:
    for words in (["--tasks", "cooking"], ["--methods", "magic"], ["--noise", "2"], ["--attack", "rudeness"]):
        with pytest.raises(SystemExit):
            simulate.main(words)


def test_poison_is_summed_up_by_share_and_attack() -> None:
    def case(attack: str, gain: float, worse: int) -> poison.Case:
        return poison.Case("t20", 1, attack, 0.3, 2, 1, worse, gain, 0.3, None, ())

    cells = poison.summary([case("flips", 0.2, 0), case("flips", -0.1, 1), case("length", 0.3, 0)])
    assert [(cell["attack"], cell["runs"], cell["truly_worse"], cell["improved"]) for cell in cells] == [
        ("flips", 2, 1, 1),
        ("length", 1, 0, 1),
    ]


def test_a_whole_run_over_a_table_ends_in_one_line(tmp_path: Path) -> None:
    """A day, an attack, a lap and a rival by the stock SDK: the table truly learns, and all is told."""
    words = ["--table", "--seed", "1", "--laps", "1", "--tasks", "drills", "--methods", "sft", "--hostile", "0.2"]
    words += ["--attack", "flips", "--record", str(tmp_path / "records.jsonl")]
    command = [sys.executable, "-m", "benchmarks.loop.simulate", *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert {"claim", "machine", "commit", "seed", "settings", "seconds"} <= figures.keys()
    assert figures["success_before"] == figures["baseline_success"]["nothing"] == 0.0
    assert figures["baseline_success"]["dpo"] is None
    assert figures["baseline_success"]["sft"] > 0.2
    compute = figures["baseline_compute"]
    assert 0 < compute["sft"]["tokens"] <= compute["ours"]
    assert [row["lap"] for row in figures["laps"]] == [1]
    assert all(abs(row["hostile_share"] - 0.2) < 0.03 for row in figures["laps"])
    (row,) = figures["laps"]
    assert row["seconds_of"].keys() == {"talk", "exam", "lap", "rivals"}
    assert abs(sum(row["seconds_of"].values()) - row["seconds"]) < 1.0
    assert row["lap_report"]["corrections"] > 0
    assert "verdict" not in row["lap_report"]
    assert figures["promotions"] == sum(row["promoted"] for row in figures["laps"])
    assert figures["success_after"] == figures["laps"][-1]["success"]
    for name, reason in (("lift_covers_truth", "lift_reason"), ("reward_accuracy", "reward_reason")):
        assert figures[name] is not None or figures[reason]
    told_again = records.read(tmp_path / "records.jsonl")
    assert count(told_again) == figures["events"]


def test_a_plan_draws_its_town_again() -> None:
    plan = Plan(5, 2, ("facts", "style"), 0.1, 0.3)
    first, second = plan.town(), plan.town()
    assert first.raters == second.raters
    assert [task.held_out() for task in first.tasks] == [task.held_out() for task in second.tasks]
