"""Generated lives: what they say is what the exam believes to be true, and the exam sees what a reader would."""

import pytest

from benchmarks.memory.course import go
from benchmarks.memory.exam import examine, read
from benchmarks.memory.life import HELD_OUT, TRAIN, Fact, Life, Plan, Telling, live, read_domain
from benchmarks.memory.message import Held, Message, count_words, plain
from benchmarks.memory.policies.choosers import Chooser, Full, latest

DOMAINS = (*TRAIN, *HELD_OUT)


def said(*texts: str) -> list[Held]:
    return [Held("user", text, turn) for turn, text in enumerate(texts)]


def flat(*values: str, forgotten: int | None = None) -> Fact:
    tellings = tuple(Telling(turn * 2, value) for turn, value in enumerate(values))
    return Fact("home", "flat", ("flat",), ("Where is my flat?",), tellings, forgotten)


def life(fact: Fact, *texts: str) -> Life:
    return Life(tuple(Message("user", text) for text in texts), (fact,), ())


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_wording_tells_the_value_and_speaks_of_its_fact(domain: str) -> None:
    for told in read_domain(domain):
        assert len(told["states"]) >= 3 and len(told["updates"]) >= 2 and len(told["asks"]) >= 2
        for wording in (*told["states"], *told["updates"]):
            assert "{v}" in wording
            assert any(plain(key) in plain(wording) for key in told["keys"]), wording
        for wording in (*told["asks"], *told["forgets"]):
            assert "{v}" not in wording


def test_a_seed_fixes_a_life_and_another_seed_is_another() -> None:
    plan = Plan(400)
    assert live(1, plan) == live(1, plan) != live(2, plan)


def test_values_stand_where_the_facts_say_they_were_told_and_in_no_chatter() -> None:
    whole = live(3, Plan(600))
    assert len(whole.messages) == 600
    told = {telling.turn: telling.value for fact in whole.facts for telling in fact.tellings}
    for turn, value in told.items():
        assert plain(value) in plain(whole.messages[turn].text)
    forgotten = {fact.forgotten for fact in whole.facts if fact.forgotten is not None}
    for turn, message in enumerate(whole.messages):
        if message.role == "user" and turn not in told and turn not in forgotten:
            assert not any(plain(value) in plain(message.text) for value in told.values()), message.text


def test_as_many_facts_are_true_at_the_end_as_were_asked_for() -> None:
    whole = live(4, Plan(1000, facts=12, updates=4, forgotten=2))
    true = [fact for fact in whole.facts if fact.value(1000)]
    assert len(true) == 12
    assert sum(len(fact.tellings) > 1 for fact in true) == 4
    assert sum(fact.forgotten is not None for fact in whole.facts) == 2


def test_more_facts_than_the_domains_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="domains hold 6"):
        live(1, Plan(1000, ("home",), facts=10))


def test_what_is_true_changes_with_the_messages() -> None:
    fact = flat("Pune", "Kochi", forgotten=6)
    assert [fact.value(turns) for turns in (0, 1, 2, 3, 6, 7)] == [None, "Pune", "Pune", "Kochi", "Kochi", None]


def test_the_last_line_about_a_fact_is_believed() -> None:
    fact = flat("Pune", "Kochi")
    lines = [plain(text) for text in ("My flat is in Pune.", "My flat is in Kochi now.", "Rain in Pune.")]
    assert read(lines, fact, 9) == "Kochi"
    assert read(lines[:1], fact, 9) == "Pune"
    assert read(lines[2:], fact, 9) is None


def test_an_outdated_line_that_still_stands_is_no_clean_last_value() -> None:
    texts = ("My flat is in Pune.", "ok", "My flat is in Kochi now, not in Pune.")
    both = examine(said(*texts), life(flat("Pune", "Kochi"), *texts), 3)
    assert (both.known, both.believed, both.clean) == ({"flat": True}, {"flat": True}, {"flat": False})
    only = examine(said(texts[2]), life(flat("Pune", "Kochi"), *texts), 3)
    assert only.clean == {"flat": True}


def test_what_was_to_be_forgotten_leaks_wherever_its_value_stands() -> None:
    texts = ("My flat is in Pune.", "Noted, Pune.", "Please forget my flat.")
    whole = life(flat("Pune", forgotten=2), *texts)
    assert examine(said(texts[1]), whole, 3).leaks == ("flat: Pune",)
    assert examine(said(texts[2]), whole, 3).leaks == ()
    assert examine(said(texts[1]), whole, 2).leaks == ()


def test_numbers_and_names_nobody_said_are_invented() -> None:
    whole = life(flat("Pune"), "My flat in Pune costs 18,500.")
    assert examine(said("flat Pune 18,500"), whole, 1).invented == ()
    assert examine(said("flat Pune 18,600 Delhi"), whole, 1).invented == ("600", "delhi")


def test_a_number_is_no_part_of_a_larger_one() -> None:
    assert plain("37") not in plain("they sold 37,512 at 12:37")
    assert plain("7:45") in plain("Standup (7:45).")
    assert plain("दरवाज़े") in plain("हमारे दरवाज़े का कोड")


async def test_full_context_knows_all_and_recency_only_the_latest() -> None:
    whole = live(5, Plan(1000))
    full = await go(Full(), whole, count_words)
    recent = await go(Chooser(latest, 256, count_words), whole, count_words)
    assert all(full.marks.known.values()) and full.marks.leaks and not full.marks.invented
    assert sum(recent.marks.known.values()) < len(recent.marks.known) / 2
    assert recent.peak_tokens <= 256 < full.peak_tokens
    assert [point.turns for point in full.checkpoints] == [100, 200, 500, 1000]
    assert full.early and full.late
