"""Which messages of a request are new, by its last one alone, however its client sends a history."""

from hypothesis import given
from hypothesis import strategies as st

from anubhav.memory.news import News, answer, ask, find_news
from anubhav.types.chat import Message, ToolCall
from anubhav.types.remembering import Heard

SALT = "mem_1"


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str, *calls: ToolCall) -> Message:
    return Message("assistant", text, tool_calls=calls)


class Listener:
    """Hears requests as a memory does, and keeps all it took for new."""

    def __init__(self) -> None:
        self.heard, self.known = Heard(), Heard()
        self.messages: list[str] = []

    def request(self, *messages: Message, reply: str | None = "Reply.") -> News:
        news = find_news(messages, self.heard, SALT)
        self.messages += [message.content for message in messages[news.start :]]
        self.heard = ask(messages, self.heard, news, len(self.messages), SALT)
        if reply is not None:
            self.messages.append(reply)
            self.heard = answer(self.heard, messages, reply, SALT)
        return news


def test_a_history_and_its_newest_message_are_the_same_conversation() -> None:
    whole, newest = Listener(), Listener()
    history: list[Message] = []
    for number in range(5):
        history.append(user(f"Question {number}"))
        whole.request(*history, reply=f"Answer {number}")
        newest.request(history[-1], reply=f"Answer {number}")
        history.append(assistant(f"Answer {number}\n"))
    assert whole.messages == newest.messages
    assert len(whole.messages) == 10


def test_the_first_request_is_new_from_its_beginning() -> None:
    listener = Listener()
    assert listener.request(user("a"), assistant("b"), user("c")) == News(0, 2)


def test_a_repeated_request_is_not_new_and_keeps_its_place() -> None:
    listener = Listener()
    listener.request(user("one"))
    listener.request(user("two"), reply=None)
    first = listener.heard.first
    assert listener.request(user("two"), reply=None) == News(1, 0)
    assert listener.request(user("two")) == News(1, 0)
    assert listener.heard.first == first == 2
    assert listener.messages == ["one", "Reply.", "two", "Reply."]
    listener.request(user("two"), assistant("Reply."), user("three"))
    assert listener.heard.first == 4


def test_two_requests_at_once_do_not_take_each_others_replies() -> None:
    listener = Listener()
    listener.request(user("one"), reply=None)
    listener.request(user("two"), reply=None)
    assert answer(listener.heard, [user("one")], "Reply.", SALT) == listener.heard
    assert answer(listener.heard, [user("two")], "Reply.", SALT) != listener.heard


def test_calls_of_tools_are_part_of_what_is_being_answered() -> None:
    listener = Listener()
    call = ToolCall("c1", "look", "{}")
    listener.request(user("hello"))
    asked = [user("hello"), assistant("Reply."), user("look"), assistant("", call), Message("tool", "found")]
    assert listener.request(*asked) == News(2, 2)
    other = [*asked[:3], assistant("", ToolCall("c1", "look", '{"at": "home"}')), asked[4]]
    assert find_news(other, listener.heard, SALT) == News(2, 2)


def test_an_unfinished_answer_is_gone_on_with() -> None:
    assert find_news([user("a"), assistant("b"), user("c"), assistant("Well")], Heard(), SALT).tail == 2


@given(st.lists(st.sampled_from(["user", "assistant"]), min_size=1, max_size=8), st.integers(0, 8))
def test_what_the_reply_answers_is_never_skipped(roles: list[str], cut: int) -> None:
    messages = [Message("user" if role == "user" else "assistant", f"{number}") for number, role in enumerate(roles)]
    listener = Listener()
    listener.request(*messages[: max(1, cut)])
    before = len(listener.messages)
    news = listener.request(*messages, reply=None)
    assert 0 <= news.tail < len(messages)
    assert len(listener.messages) - before == len(messages) - news.start
    assert 0 <= listener.heard.first <= len(listener.messages) - 1
