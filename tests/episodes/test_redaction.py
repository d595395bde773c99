"""What is taken out of texts, and which patterns are refused because they could take long."""

import time

import pytest

from anubhav.episodes.redaction import checked, redactor
from anubhav.errors import BadInput
from anubhav.types.chat import Message, ToolCall
from anubhav.types.people import Pattern

ALL = (Pattern("email"), Pattern("card"), Pattern("phone"), Pattern("api-key"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("write to ann.o'hara+x@mail.example.com today", "write to ann.o'[email] today"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("call +44 20 7946 0958 now", "call [phone] now"),
        ("use sk-abcdEFGH12345678ijkl or tml-abcdefghijklmnop", "use [api-key] or [api-key]"),
        ("2 + 2 = 4, in 1999, v1.2.3", "2 + 2 = 4, in 1999, v1.2.3"),
    ],
)
def test_named_patterns_find_what_they_are_for(text: str, kept: str) -> None:
    assert redactor(ALL).text(text) == kept


def test_a_card_number_needs_its_check_digit() -> None:
    only = redactor((Pattern("card"),))
    assert only.text("4111111111111111 and 4111111111111112") == "[card] and 4111111111111112"


def test_everything_a_message_says_is_read() -> None:
    own = redactor((Pattern("email"), Pattern("ticket", r"TCK-\d{4,8}")))
    call = ToolCall("call_1", "send", '{"to": "a@b.example", "about": "TCK-1234"}')
    (found,) = own.messages([Message("assistant", "TCK-99999 of a@b.example", "x@y.example", (call,), None)])
    assert (found.content, found.name) == ("[ticket] of [email]", "[email]")
    assert found.tool_calls[0].arguments == '{"to": "[email]", "about": "[ticket]"}'


@pytest.mark.parametrize(
    "regex",
    [
        r"(a+)+b", r"a*", r"a+b", r"(a{1,20}){1,20}b", r"(a|a){1,40}b", r"(?:a?){30}a{30}", r"(\w)\1", r"(", r"",
        r"a{0,3}", r"[a-z]{1,100}[a-z]{1,100}[a-z]{1,100}!", r"a{1,20000}", "x" * 501, r"(?=(a{1,200}a{1,200}))b",
    ],
)  # fmt: skip
def test_patterns_that_could_take_long_are_refused_in_no_time(regex: str) -> None:
    started = time.process_time()
    with pytest.raises(BadInput):
        checked([Pattern("mine", regex)])
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("name", ["email", "phone", "card", "api-key"])
@pytest.mark.parametrize("bait", ["a", "1", "a@", "1 ", ".", "sk-", "a.b", "-1"])
def test_what_is_taken_is_quick_on_bait(name: str, bait: str) -> None:
    text = bait * (100_000 // len(bait))
    started = time.process_time()
    redactor(checked([Pattern(name)])).text(text)
    assert time.process_time() - started < 1


def test_names_are_unique_and_known() -> None:
    with pytest.raises(BadInput, match="no pattern"):
        checked([Pattern("passport")])
    with pytest.raises(BadInput, match="its own name"):
        checked([Pattern("email"), Pattern("email", "x@y")])
