"""What no budget takes: the latest words, standing wishes, open questions, pins; and when a guard ends."""

from anubhav.memory.present import present
from anubhav.types.memory import Memory
from tests.memory.conftest import Talk, hear, said

CHATTER = [f"assistant: The match number {i} ended with a goal by player {i * 3}." for i in range(120)]


def test_a_standing_wish_is_kept_word_for_word(talk: Talk) -> None:
    memory, _ = talk("Please always answer in metres.", *CHATTER, budget=128)
    assert "Please always answer in metres." in present(memory)


def test_a_question_stays_open_until_somebody_answers_it(talk: Talk) -> None:
    asked = "When does the ferry to Elba leave?"
    memory, _ = talk(asked, "assistant: Let me check and get back to you.", *(c for c in CHATTER), budget=192)
    assert asked in present(memory)
    memory, _ = talk("assistant: The ferry to Elba leaves at nine.", budget=192, start=memory)
    assert not any(chunk.open for chunk in memory.chunks)


def test_a_question_answered_at_once_is_not_guarded(talk: Talk) -> None:
    memory, _ = talk("What is the capital of Peru?", "assistant: Lima.")
    assert not any(chunk.open for chunk in memory.chunks)


def test_questions_of_the_moment_take_no_share_of_those_nobody_answered(talk: Talk) -> None:
    asked = "When does the ferry to Elba leave?"
    memory, _ = talk(asked, "assistant: Let me check and get back to you.", *CHATTER[:20], budget=192)
    long = "Is it true that the bridge has forty thousand rivets, and who counted them, and why would anybody do that?"
    memory, _ = talk(long, budget=192, start=memory)
    assert asked in present(memory)


def test_an_answer_that_only_repeats_goes_first(talk: Talk) -> None:
    memory, ledger = talk("The padlock opens with 3391.", "assistant: Got it: 3391.", *CHATTER[:20], budget=192)
    (line,) = [line for line in ledger if line.before == "Got it: 3391."]
    assert (line.act, line.why) == ("dropped", "it only repeats what was said before it")
    assert "Got it: 3391." not in present(memory)


def test_more_wishes_than_their_share_lose_the_oldest_and_the_ledger_says_so(talk: Talk) -> None:
    wishes = [f"Always greet guest number {i} by the first name." for i in range(40)]
    memory, ledger = talk(*wishes, *CHATTER[:20], budget=128)
    assert wishes[-1] in present(memory)
    assert wishes[0] not in present(memory)
    assert any(line.act == "unpinned" and line.before == wishes[0] for line in ledger)


def test_the_latest_words_are_kept_as_they_are(talk: Talk) -> None:
    memory, _ = talk(*CHATTER, "ok then", budget=192)
    assert memory.chunks[-1].text == "ok then"


def test_facts_outlive_chatter_and_what_is_shortened_invents_nothing() -> None:
    fact = "So well, the thing is that you know my passport number is 88213 and it is really in the blue drawer."
    memory, ledger = hear([said(one) for one in (fact, *CHATTER)], 128, Memory())
    assert "88213" in present(memory)
    for line in ledger:
        assert set(line.after.split()) <= {word.strip('"“”,;!()[]*_~') or word for word in line.before.split()} | set(
            line.before.split()
        )
