"""The unmodified OpenAI SDK on what is kept for it: conversations with their items, responses in the background, and
both deleted again.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fake_model import write_model
from loopback import Loopback, hosted
from openai.types.responses import Response
from school import ask, teach_talks

from anubhav.types.chat import Message
from anubhav.types.people import Pattern, Policy
from anubhav.types.talks import Deferred

WHO = "Who?"
TALKS = [
    (ask(WHO), "<think>\nIt is me.\n</think>\n\nAnubhav."),
    ((*ask(WHO), Message("assistant", "Anubhav.", reasoning="It is me."), Message("user", "Since when?")), "Always."),
    ((Message("user", "I am Ada."), Message("assistant", "Hello."), Message("user", "My name?")), "Ada."),
]
GREEDY: Any = {"temperature": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    write_model(folder / "tiny", 4096)
    template = folder / "tiny" / "chat_template.jinja"
    template.write_text(template.read_text() + "{# </think> #}")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Loopback]:
    with hosted(folder, 4096) as loopback:
        yield loopback


@pytest.fixture(scope="module")
def model(server: Loopback) -> str:
    house = server.house
    return str(server.run(teach_talks(house.desk, house.renderers["tiny"], "local", TALKS)).path)


@pytest.fixture(scope="module")
def gpt(server: Loopback) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def stuck(server: Loopback, name: str) -> str:
    """A reply under way that is never whole, whatever the machine's speed."""
    one = Deferred(name, "local", "tiny", time.time())
    server.run(server.house.later.begin(one, lambda _: asyncio.sleep(600)))
    return name


def until_ended(gpt: openai.OpenAI, name: str) -> Response:
    for _ in range(500):
        found = gpt.responses.retrieve(name)
        if found.status not in ("queued", "in_progress"):
            return found
        time.sleep(0.02)
    raise AssertionError(f"{name} is still {found.status}")


class TestBackground:
    def test_it_is_queued_at_once_and_found_when_it_is_whole(self, gpt: openai.OpenAI, model: str) -> None:
        first = gpt.responses.create(model=model, input=WHO, background=True, **GREEDY)
        assert (first.status, first.background, first.output) == ("queued", True, [])
        found = until_ended(gpt, first.id)
        assert (found.status, found.background, found.output_text) == ("completed", True, "Anubhav.")
        then = gpt.responses.create(model=model, input="Since when?", previous_response_id=first.id, **GREEDY)
        assert (then.output_text, then.background) == ("Always.", False)

    def test_a_wrong_request_fails_before_it_is_queued(self, gpt: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match="nobody"):
            gpt.responses.create(model="nobody", input=WHO, background=True)

    def test_a_cancelled_one_says_no_more(self, gpt: openai.OpenAI, server: Loopback) -> None:
        name = stuck(server, "ep_cancelled")
        assert gpt.responses.cancel(name).status == "cancelled"
        assert gpt.responses.cancel(name).status == "cancelled"
        assert gpt.responses.retrieve(name).status == "cancelled"
        server.run(asyncio.wait_for(server.house.later.wait(name), 1))

    def test_cancelling_what_is_whole_leaves_it(self, gpt: openai.OpenAI, model: str) -> None:
        name = gpt.responses.create(model=model, input=WHO, background=True, **GREEDY).id
        until_ended(gpt, name)
        assert gpt.responses.cancel(name).output_text == "Anubhav."
        waited = gpt.responses.create(model=model, input=WHO, **GREEDY)
        with pytest.raises(openai.NotFoundError, match="background"):
            gpt.responses.cancel(waited.id)

    def test_another_tenant_neither_sees_nor_cancels_it(self, server: Loopback, gpt: openai.OpenAI) -> None:
        name = stuck(server, "ep_deleted")
        key = server.add_key("somebody-else")
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as other:
            for act in (other.responses.retrieve, other.responses.cancel, other.responses.delete):
                with pytest.raises(openai.NotFoundError):
                    act(name)
        gpt.responses.delete(name)
        with pytest.raises(openai.NotFoundError):
            gpt.responses.retrieve(name)


def test_the_end_of_the_server_is_told_as_a_failure(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny", 4096)
    with (
        hosted(tmp_path, 4096) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as gpt,
    ):
        name = stuck(server, "ep_never")
        assert gpt.responses.retrieve(name).status == "queued"
    with (
        hosted(tmp_path, 4096) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as gpt,
    ):
        found = gpt.responses.retrieve(name)
        assert found.status == "failed"
        assert found.error is not None
        assert (found.error.code, "server ended" in found.error.message) == ("server_error", True)


class TestDeleting:
    def test_a_response_goes_with_the_feedback_on_it(self, gpt: openai.OpenAI, server: Loopback, model: str) -> None:
        reply = gpt.responses.create(model=model, input=WHO, **GREEDY)
        gpt.post("/feedback", body={"target": reply.id, "kind": "thumb", "value": True}, cast_to=object)
        assert gpt.responses.delete(reply.id) is None
        for act in (gpt.responses.retrieve, gpt.responses.delete):
            with pytest.raises(openai.NotFoundError):
                act(reply.id)
        assert reply.id not in [one.id for one, _ in server.run(server.house.recorder.recent(50))]


class TestConversations:
    def test_it_begins_with_items_and_goes_on(self, gpt: openai.OpenAI, model: str) -> None:
        first: Any = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hello."}]
        talk = gpt.conversations.create(items=first, metadata={"topic": "names"})
        assert (talk.object, talk.metadata) == ("conversation", {"topic": "names"})
        reply = gpt.responses.create(model=model, input="My name?", conversation=talk.id, **GREEDY)
        assert reply.output_text == "Ada."
        assert reply.conversation is not None
        assert reply.conversation.id == talk.id
        items: list[Any] = list(gpt.conversations.items.list(talk.id, order="asc"))
        told = [(item.role, item.content[0].text) for item in items]
        assert told == [("user", "I am Ada."), ("assistant", "Hello."), ("user", "My name?"), ("assistant", "Ada.")]
        assert items[-1].id == reply.output[0].id

    def test_thoughts_stay_with_what_was_said(self, gpt: openai.OpenAI, model: str) -> None:
        talk = gpt.conversations.create()
        with gpt.responses.stream(model=model, input=WHO, conversation=talk.id, **GREEDY) as stream:
            reply = stream.get_final_response()
        kinds = [item.type for item in gpt.conversations.items.list(talk.id)]
        assert kinds == ["message", "reasoning", "message"]
        then = gpt.responses.create(model=model, input="Since when?", conversation=talk.id, **GREEDY)
        assert (reply.output_text, then.output_text) == ("Anubhav.", "Always.")

    def test_a_call_and_its_output_are_items(self, gpt: openai.OpenAI) -> None:
        call: Any = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
        output: Any = {"type": "function_call_output", "call_id": "c1", "output": "18 C"}
        talk = gpt.conversations.create()
        added = gpt.conversations.items.create(talk.id, items=[call, output])
        assert [item.type for item in added.data] == ["function_call", "function_call_output"]
        found: Any = gpt.conversations.items.retrieve(added.data[1].id, conversation_id=talk.id)
        assert (found.call_id, found.output) == ("c1", "18 C")

    def test_pages_come_in_either_order(self, gpt: openai.OpenAI) -> None:
        said: Any = [{"role": "user", "content": str(number)} for number in range(7)]
        talk = gpt.conversations.create(items=said)
        for order, expected in (("asc", "0123456"), ("desc", "6543210")):
            found: list[Any] = list(gpt.conversations.items.list(talk.id, order=order, limit=3))  # type: ignore[arg-type]
            assert "".join(item.content[0].text for item in found) == expected

    def test_items_and_metadata_change_and_all_of_it_goes(self, gpt: openai.OpenAI, model: str) -> None:
        said: Any = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
        talk = gpt.conversations.create(items=said)
        (_, last) = gpt.conversations.items.list(talk.id, order="asc")
        assert gpt.conversations.items.delete(last.id or "", conversation_id=talk.id).id == talk.id
        assert len(list(gpt.conversations.items.list(talk.id))) == 1
        assert gpt.conversations.update(talk.id, metadata={"a": "b"}).metadata == {"a": "b"}
        assert gpt.conversations.retrieve(talk.id).metadata == {"a": "b"}
        assert gpt.conversations.delete(talk.id).deleted
        for act in (gpt.conversations.retrieve, gpt.conversations.delete, gpt.conversations.items.list):
            with pytest.raises(openai.NotFoundError):
                act(talk.id)
        with pytest.raises(openai.NotFoundError, match="conversation"):
            gpt.responses.create(model=model, input=WHO, conversation=talk.id)

    def test_a_deleted_response_leaves_its_conversation(self, gpt: openai.OpenAI, model: str) -> None:
        talk = gpt.conversations.create(items=[{"role": "user", "content": "I stay."}])
        reply = gpt.responses.create(model=model, input=WHO, conversation=talk.id, **GREEDY)
        assert len(list(gpt.conversations.items.list(talk.id))) > 2
        gpt.responses.delete(reply.id)
        (left,) = gpt.conversations.items.list(talk.id)
        assert left.content[0].text == "I stay."  # type: ignore[union-attr]

    def test_an_erased_person_is_in_no_conversation(self, gpt: openai.OpenAI, server: Loopback, model: str) -> None:
        talk = gpt.conversations.create(items=[{"role": "user", "content": "I am Ada."}])
        gpt.responses.create(model=model, input=WHO, conversation=talk.id, user="ada", **GREEDY)
        server.run(server.house.people.erase("local", "ada", "test"))
        assert list(gpt.conversations.items.list(talk.id)) == []

    def test_what_is_not_stored_is_not_in_it(self, gpt: openai.OpenAI, model: str) -> None:
        talk = gpt.conversations.create()
        gpt.responses.create(model=model, input=WHO, conversation=talk.id, store=False, **GREEDY)
        assert list(gpt.conversations.items.list(talk.id)) == []

    def test_a_background_response_is_in_it_when_it_is_whole(self, gpt: openai.OpenAI, model: str) -> None:
        talk = gpt.conversations.create()
        name = gpt.responses.create(model=model, input=WHO, conversation=talk.id, background=True, **GREEDY).id
        until_ended(gpt, name)
        assert len(list(gpt.conversations.items.list(talk.id))) == 3

    def test_what_is_taken_out_of_replies_is_taken_out_of_items(self, server: Loopback) -> None:
        key = server.add_key("careful")
        server.run(server.house.policies.keep("careful", Policy(patterns=(Pattern("email"),))))
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as gpt:
            talk = gpt.conversations.create(items=[{"role": "user", "content": "write to ada@example.org"}])
            (item,) = gpt.conversations.items.list(talk.id)
        assert "ada@example.org" not in item.content[0].text  # type: ignore[union-attr]

    @pytest.mark.parametrize("wrong", [[{"type": "web_search_call", "id": "ws_1"}], [{"role": "king", "content": "x"}]])
    def test_what_cannot_be_kept_is_refused(self, gpt: openai.OpenAI, wrong: Any) -> None:
        with pytest.raises(openai.BadRequestError):
            gpt.conversations.create(items=wrong)

    def test_another_tenant_sees_nothing_of_it(self, gpt: openai.OpenAI, server: Loopback, model: str) -> None:
        talk = gpt.conversations.create()
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.add_key("other"), max_retries=0) as other:
            for act in (other.conversations.retrieve, other.conversations.delete, other.conversations.items.list):
                with pytest.raises(openai.NotFoundError):
                    act(talk.id)
