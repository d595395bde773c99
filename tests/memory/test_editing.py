"""What people do to a memory by hand, and what is refused."""

import pytest

from anubhav.errors import BadInput, NotFound
from anubhav.memory.editing import add_pin, edit, forget, forget_words, pin
from anubhav.memory.present import present
from tests.memory.conftest import Talk, count


def test_an_edited_chunk_says_the_new_text_and_the_ledger_both(talk: Talk) -> None:
    memory, _ = talk("My dog is called Bruno.")
    after, (line,) = edit(memory, memory.chunks[0].id, "My dog is called Max.", 512, count)
    assert present(after).endswith("user: My dog is called Max.\n")
    assert (line.act, line.before, line.after) == ("edited", "My dog is called Bruno.", "My dog is called Max.")
    assert after.version == memory.version + 1


def test_an_edited_statement_can_be_superseded_again(talk: Talk) -> None:
    memory, _ = talk("My flat is in Pune.")
    after, _ = edit(memory, memory.chunks[0].id, "My flat is in Delhi.", 512, count)
    later, ledger = talk("My flat is now in Goa.", start=after)
    assert "Delhi" not in present(later)
    assert ledger[0].act == "superseded"


def test_an_edit_that_does_not_fit_is_empty_or_of_nothing_is_refused(talk: Talk) -> None:
    memory, _ = talk("My dog is called Bruno.", budget=64)
    with pytest.raises(BadInput, match="budget is 64"):
        edit(memory, memory.chunks[0].id, "Bruno barks. " * 60, 64, count)
    with pytest.raises(BadInput, match="empty"):
        edit(memory, memory.chunks[0].id, "  ", 64, count)
    with pytest.raises(NotFound):
        edit(memory, "ch_nothing", "text", 64, count)


def test_pins_go_on_and_off_and_cannot_take_the_whole_memory(talk: Talk) -> None:
    memory, _ = talk("My dog is called Bruno.", "word " * 50, budget=64)
    on, (line,) = pin(memory, memory.chunks[0].id, on=True, budget=64)
    assert on.chunks[0].pin == "client"
    assert line.act == "pinned"
    off, (line,) = pin(on, memory.chunks[0].id, on=False, budget=64)
    assert off.chunks[0].pin == ""
    assert line.act == "unpinned"
    with pytest.raises(BadInput, match="pins may hold 48"):
        pin(memory, memory.chunks[1].id, on=True, budget=64)


def test_a_line_can_be_pinned_that_nobody_said(talk: Talk) -> None:
    memory, _ = talk("Hello.")
    after, _ = add_pin(memory, "The house rule is: no shoes.", 0.0, 64, count)
    later, _ = talk(*(f"Guest {i} came from city {i}." for i in range(60)), budget=64, start=after)
    assert "The house rule is: no shoes." in present(later)
    with pytest.raises(BadInput, match="says nothing"):
        add_pin(memory, " ", 0.0, 64, count)


def test_forgetting_by_hand_leaves_no_text_behind(talk: Talk) -> None:
    memory, _ = talk("My dog is called Bruno. My door code is 4821.", "assistant: 4821, noted.")
    after, lines = forget_words(memory, "my door code", count)
    assert "4821" not in present(after)
    assert "Bruno" in present(after)
    assert lines
    assert not any(line.before or line.after for line in lines)
    gone, (line,) = forget(after, after.chunks[0].id)
    assert "Bruno" not in present(gone)
    assert not line.before
    with pytest.raises(NotFound):
        forget_words(gone, "my door code", count)
    with pytest.raises(BadInput):
        forget_words(memory, "the", count)
