"""The unmodified SDKs of OpenAI (Responses), Anthropic and Ollama against a server on loopback: one talk with a tool, a
thought before an answer, streams, what comes next, and what is refused.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import anthropic
import httpx2
import ollama
import openai
import pytest
from fake_model import write_model
from loopback import Loopback, hosted
from school import ask, teach_talks

from anubhav.types.chat import Message, Tool, ToolCall

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", "Tells the weather.", json.dumps(SCHEMA))
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
OFFER = Message("system", "", tools=(WEATHER,))
TOLD = Message("system", "Be brief.", "instructions")
WHO, HOW = "Who?", "How is Paris?"
GREEDY: Any = {"temperature": 0}
FUNCTION: Any = {"name": "get_weather", "description": WEATHER.description, "parameters": SCHEMA}
# Ollama's client writes a schema in an order of its own.
REWRITTEN = ollama.Tool(type="function", function=FUNCTION).model_dump(exclude_none=True)["function"]["parameters"]
OLLAMAS = Message("system", "", tools=(Tool("get_weather", WEATHER.description, json.dumps(REWRITTEN)),))


def after(call: str) -> tuple[Message, ...]:
    called = Message("assistant", "", tool_calls=(ToolCall(call, "get_weather", '{"city": "Paris"}'),))
    return OFFER, Message("user", HOW), called, Message("tool", "18 C", tool_call_id=call)


TALKS = [
    (ask(WHO), "<think>\nIt is me.\n</think>\n\nAnubhav."),
    ((TOLD, *ask(WHO)), "Me."),
    ((*ask(WHO), Message("assistant", "Anubhav.", reasoning="It is me."), Message("user", "Since when?")), "Always."),
    ((OFFER, *ask(HOW)), CALL),
    (after("c"), "It is 18 C."),
    ((OLLAMAS, *ask(HOW)), CALL),
    ((OLLAMAS, *after("c")[1:]), "It is 18 C."),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("dialects")
    write_model(folder / "tiny", 4096)
    template = (folder / "tiny" / "chat_template.jinja").read_text()
    # A model that thinks, and whose template leaves earlier thoughts out.
    (folder / "tiny" / "chat_template.jinja").write_text(template + "{# </think> #}")
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


@pytest.fixture(scope="module", params=["", "/anthropic", "/anthropic/api"])
def claude(request: pytest.FixtureRequest, server: Loopback) -> Iterator[anthropic.Anthropic]:
    url = server.url + request.param
    with anthropic.Anthropic(base_url=url, auth_token=server.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def llama(server: Loopback) -> Iterator[ollama.Client]:
    client = ollama.Client(server.url, headers={"Authorization": f"Bearer {server.key}"})
    yield client
    client._client.close()


class TestChat:
    TOOLS: ClassVar[Any] = [
        {"type": "function", "function": FUNCTION},
        {"type": "web_search"},
    ]

    def test_a_call_and_what_comes_of_it(self, gpt: openai.OpenAI, model: str) -> None:
        asked: list[Any] = [{"role": "user", "content": HOW}]
        reply = gpt.chat.completions.create(model=model, messages=asked, tools=self.TOOLS, temperature=0)
        (choice,) = reply.choices
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        (call,) = choice.message.tool_calls or ()
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
        asked += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "18 C"}]
        reply = gpt.chat.completions.create(model=model, messages=asked, tools=self.TOOLS, temperature=0)
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("It is 18 C.", "stop")

    def test_a_streamed_call(self, gpt: openai.OpenAI, model: str) -> None:
        with gpt.chat.completions.stream(
            model=model, messages=[{"role": "user", "content": HOW}], tools=self.TOOLS, temperature=0
        ) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        assert "tool_calls.function.arguments.done" in kinds
        assert (final.choices[0].message.tool_calls or [])[0].function.arguments == '{"city": "Paris"}'
        assert final.choices[0].finish_reason == "tool_calls"

    def test_no_tool_is_called_where_none_may_be(self, gpt: openai.OpenAI, model: str) -> None:
        reply = gpt.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": WHO}],
            tools=self.TOOLS,
            tool_choice="none",
            temperature=0,
        )
        assert reply.choices[0].message.content == "Anubhav."
        assert reply.choices[0].message.reasoning_content == "It is me."

    def test_token_ids_are_those_of_the_episode(self, gpt: openai.OpenAI, server: Loopback, model: str) -> None:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": WHO}], "temperature": 0}
        whole: Any = gpt.chat.completions.create(**asked, extra_body={"return_token_ids": True})
        kept = server.run(server.house.recorder.find("local", whole.id))
        assert tuple(whole.prompt_token_ids) == kept.prompt_tokens
        assert tuple(whole.choices[0].token_ids) == kept.choices[0].tokens
        stream: Any = gpt.chat.completions.create(**asked, stream=True, extra_body={"return_token_ids": True})
        assert [token for chunk in stream for token in chunk.choices[0].token_ids] == whole.choices[0].token_ids

    def test_more_than_fits_is_clamped_and_said(self, gpt: openai.OpenAI, model: str) -> None:
        reply: Any = gpt.chat.completions.create(
            model=model, messages=[{"role": "user", "content": WHO}], max_tokens=32_000, temperature=0
        )
        assert 3000 < reply.anubhav["max_tokens"] < 4096


class TestResponses:
    TOOLS: ClassVar[Any] = [
        {"type": "function", **FUNCTION, "strict": False},
        {"type": "web_search"},
        {"type": "namespace", "name": "codex", "description": "", "tools": []},
    ]

    def test_a_thought_and_an_answer(self, gpt: openai.OpenAI, model: str) -> None:
        reply = gpt.responses.create(model=model, input=WHO, temperature=0)
        assert (reply.status, reply.output_text) == ("completed", "Anubhav.")
        assert [item.type for item in reply.output] == ["reasoning", "message"]
        assert reply.usage is not None
        assert reply.usage.output_tokens > 10
        assert (
            gpt.responses.create(model=model, input=WHO, instructions="Be brief.", temperature=0).output_text == "Me."
        )
        short = gpt.responses.create(model=model, input=WHO, temperature=0, max_output_tokens=3)
        assert short.status == "incomplete"
        assert short.incomplete_details is not None
        assert short.incomplete_details.reason == "max_output_tokens"

    def test_a_stored_response_goes_on_without_its_instructions(self, gpt: openai.OpenAI, model: str) -> None:
        first = gpt.responses.create(model=model, input=WHO, temperature=0)
        then = gpt.responses.create(model=model, input="Since when?", previous_response_id=first.id, temperature=0)
        assert then.output_text == "Always."
        again = gpt.responses.retrieve(then.id)
        assert (again.output_text, again.status) == ("Always.", "completed")
        assert [item.type for item in gpt.responses.input_items.list(then.id)] == ["message"] * 3
        told = gpt.responses.create(model=model, input=WHO, instructions="Be brief.", temperature=0)
        assert "Be brief." not in [
            part.text
            for item in gpt.responses.input_items.list(
                gpt.responses.create(model=model, input="x", previous_response_id=told.id, max_output_tokens=1).id
            )
            for part in item.content
        ]

    def test_a_conversation_goes_on(self, gpt: openai.OpenAI, model: str) -> None:
        talk = gpt.conversations.create()
        first = gpt.responses.create(model=model, input=WHO, conversation=talk.id, temperature=0)
        then = gpt.responses.create(model=model, input="Since when?", conversation=talk.id, temperature=0)
        assert (first.output_text, then.output_text) == ("Anubhav.", "Always.")

    def test_what_is_not_stored_is_not_found(self, gpt: openai.OpenAI, model: str) -> None:
        reply = gpt.responses.create(model=model, input=WHO, store=False, temperature=0)
        with pytest.raises(openai.NotFoundError):
            gpt.responses.retrieve(reply.id)
        with pytest.raises(openai.NotFoundError):
            gpt.responses.create(model=model, input="x", previous_response_id=reply.id)

    def test_a_call_and_what_comes_of_it(self, gpt: openai.OpenAI, model: str) -> None:
        asked: list[Any] = [{"role": "user", "content": HOW}]
        reply = gpt.responses.create(model=model, input=asked, tools=self.TOOLS, temperature=0)
        (call,) = reply.output
        assert call.type == "function_call"
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "18 C"}
        for more in ({"input": [*asked, *reply.output, result]}, {"input": [result], "previous_response_id": reply.id}):
            then: Any = gpt.responses.create(model=model, tools=self.TOOLS, temperature=0, **more)
            assert then.output_text == "It is 18 C."

    @pytest.mark.parametrize(("text", "tools"), [(WHO, False), (HOW, True)])
    def test_a_stream_builds_the_same_response(self, gpt: openai.OpenAI, model: str, text: str, tools: bool) -> None:
        more: Any = {"tools": self.TOOLS} if tools else {}
        whole = gpt.responses.create(model=model, input=text, temperature=0, **more)
        with gpt.responses.stream(model=model, input=text, temperature=0, **more) as stream:
            events = list(stream)
            final = stream.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        words = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert words == whole.output_text == final.output_text
        assert [item.type for item in final.output] == [item.type for item in whole.output]

    def test_logprobs_are_told_where_they_are_asked_for(self, gpt: openai.OpenAI, model: str) -> None:
        reply = gpt.responses.create(
            model=model, input=HOW, tools=[], temperature=1, include=["message.output_text.logprobs"],
            top_logprobs=2, max_output_tokens=5, text={"format": {"type": "text"}}, reasoning={"effort": "low"},
        )  # fmt: skip
        texts = [item for item in reply.output if item.type == "message"]
        assert texts
        logprobs = texts[0].content[0].logprobs
        assert logprobs
        assert all(len(one.top_logprobs) == 2 for one in logprobs)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
            ({"input": [{"role": "king", "content": "x"}]}, "king"),
            ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}, "data URL"),
            ({"input": []}, "nothing to answer"),
            ({"input": [{"type": "function_call_output", "output": "x"}]}, "call_id"),
            ({"input": "x", "background": True, "store": False}, "background"),
            ({"input": "x", "background": True, "stream": True}, "background"),
            ({"input": "x", "tool_choice": {"type": "function", "name": "f"}}, "no such tool"),
        ],
    )
    def test_what_cannot_be_done_is_refused(self, gpt: openai.OpenAI, model: str, wrong: Any, says: str) -> None:
        with pytest.raises(openai.BadRequestError, match=says):
            gpt.responses.create(model=model, **wrong)

    def test_another_tenant_sees_nothing_of_it(self, gpt: openai.OpenAI, server: Loopback, model: str) -> None:
        name = gpt.responses.create(model=model, input=WHO, temperature=0).id
        with (
            openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.add_key("other"), max_retries=0) as other,
            pytest.raises(openai.NotFoundError),
        ):
            other.responses.retrieve(name)


class TestAnthropic:
    TOOLS: ClassVar[Any] = [
        {"name": "get_weather", "description": WEATHER.description, "input_schema": SCHEMA},
        {"type": "web_search_20250305", "name": "web_search"},
    ]

    def test_models(self, claude: anthropic.Anthropic) -> None:
        assert [model.id for model in claude.models.list()] == ["tiny", "default"]

    def test_an_answer_with_and_without_its_thought(self, claude: anthropic.Anthropic, model: str) -> None:
        asked: Any = {"model": model, "max_tokens": 20_000, "messages": [{"role": "user", "content": WHO}]}
        reply = claude.messages.create(**asked, extra_body=GREEDY, thinking={"type": "enabled", "budget_tokens": 1024})
        assert [block.type for block in reply.content] == ["thinking", "text"]
        assert (reply.content[1].text, reply.stop_reason) == ("Anubhav.", "end_turn")
        assert reply.usage.input_tokens + (reply.usage.cache_read_input_tokens or 0) > 20
        cut = claude.messages.create(**{**asked, "max_tokens": 2}, extra_body=GREEDY)
        assert cut.stop_reason == "max_tokens"
        stopped = claude.messages.create(**asked, extra_body=GREEDY, stop_sequences=["zzz", "bhav"])
        assert (stopped.content[-1].text, stopped.stop_reason, stopped.stop_sequence) == (
            "Anu",
            "stop_sequence",
            "bhav",
        )

    def test_a_call_and_what_comes_of_it(self, claude: anthropic.Anthropic, model: str) -> None:
        asked: list[Any] = [{"role": "user", "content": [{"type": "text", "text": HOW}]}]
        more: Any = {"model": model, "max_tokens": 100, "tools": self.TOOLS, "extra_body": GREEDY}
        reply = claude.messages.create(messages=asked, **more)
        (call,) = reply.content
        assert reply.stop_reason == "tool_use"
        assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Paris"})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "18 C"}]}
        asked += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
        assert claude.messages.create(messages=asked, **more).content[0].text == "It is 18 C."
        assert claude.messages.count_tokens(model=model, messages=asked, tools=self.TOOLS).input_tokens > 100

    @pytest.mark.parametrize(("text", "tools"), [(WHO, False), (HOW, True)])
    def test_a_stream_builds_the_same_message(
        self, claude: anthropic.Anthropic, model: str, text: str, tools: bool
    ) -> None:
        asked: Any = {
            "model": model,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": text}],
            "extra_body": GREEDY,
        }
        asked |= {"tools": self.TOOLS} if tools else {}
        whole = claude.messages.create(**asked)
        with claude.messages.stream(**asked) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_message()
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        ours, theirs = ([{**block.to_dict(), "id": None} for block in one.content] for one in (final, whole))
        assert ours == theirs
        assert final.stop_reason == whole.stop_reason
        assert final.usage.output_tokens == whole.usage.output_tokens

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "image"),
            ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "last message"),
            ({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]}, "tool_use_id"),
            ({"tool_choice": {"type": "tool", "name": "f"}}, "no such tool"),
            ({"messages": []}, "messages"),
            ({"model": "nobody"}, "nobody"),
        ],
    )
    def test_what_cannot_be_done_is_refused_in_its_own_shape(
        self, claude: anthropic.Anthropic, model: str, wrong: Any, says: str
    ) -> None:
        asked: Any = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]}
        with pytest.raises(anthropic.APIStatusError, match=says) as caught:
            claude.messages.create(**asked | wrong)
        body: Any = caught.value.body
        assert (body["type"], caught.value.status_code in (400, 404)) == ("error", True)
        assert body["error"]["type"] in ("invalid_request_error", "not_found_error")
        assert body["request_id"] == caught.value.request_id or caught.value.request_id is None

    def test_either_header_and_no_other_key(self, server: Loopback) -> None:
        with anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
            assert list(client.models.list())
        with (
            anthropic.Anthropic(base_url=server.url, api_key="tml-wrong", max_retries=0) as client,
            pytest.raises(anthropic.AuthenticationError),
        ):
            client.models.list()


class TestOllama:
    TOOLS: ClassVar[Any] = TestChat.TOOLS[:1]

    def test_models(self, llama: ollama.Client, model: str) -> None:
        assert [one.model for one in llama.list().models] == ["tiny", "default"]
        shown = llama.show("tiny:latest")
        assert shown.license == "Apache-2.0"
        assert set(shown.capabilities or ()) == {"completion", "tools", "thinking"}
        with pytest.raises(ollama.ResponseError, match="nobody"):
            llama.show("nobody")

    def test_an_answer_whole_and_streamed(self, llama: ollama.Client, model: str) -> None:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": WHO}], "options": GREEDY}
        whole = llama.chat(**asked)
        assert (whole.message.content, whole.message.thinking, whole.done_reason) == ("Anubhav.", "It is me.", "stop")
        parts = list(llama.chat(**asked, stream=True))
        assert "".join(part.message.content or "" for part in parts) == "Anubhav."
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
        assert parts[-1].eval_count == whole.eval_count
        assert llama.generate(model=model, prompt=WHO, options=GREEDY).response == "Anubhav."

    def test_a_call_and_what_comes_of_it(self, llama: ollama.Client, model: str) -> None:
        asked: list[Any] = [{"role": "user", "content": HOW}]
        reply = llama.chat(model=model, messages=asked, tools=self.TOOLS, options=GREEDY)
        (call,) = reply.message.tool_calls or ()
        assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"})
        asked += [reply.message, {"role": "tool", "tool_name": "get_weather", "content": "18 C"}]
        then = llama.chat(model=model, messages=asked, tools=self.TOOLS, options=GREEDY)
        assert then.message.content == "It is 18 C."

    def test_without_a_key_nothing_is_told(self, server: Loopback) -> None:
        assert httpx2.get(f"{server.url}/api/tags").status_code == 401
        assert httpx2.get(f"{server.url}/api/version").status_code == 401


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()


class TestImages:
    """No model that is served here sees; each dialect is told so, and by whom."""

    def test_a_chat(self, gpt: openai.OpenAI, model: str) -> None:
        for url, says in ((f"data:image/png;base64,{PNG}", "tiny cannot see"), ("https://x.org/a.png", "not fetched")):
            part: Any = {"type": "image_url", "image_url": {"url": url}}
            with pytest.raises(openai.BadRequestError, match=says):
                gpt.chat.completions.create(model=model, messages=[{"role": "user", "content": [part]}])

    def test_a_response_and_a_conversation(self, gpt: openai.OpenAI, model: str) -> None:
        part: Any = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
        said: Any = [{"role": "user", "content": [part, {"type": "input_text", "text": WHO}]}]
        output: Any = [{"type": "function_call_output", "call_id": "c", "output": [part]}]
        for asked in (said, output):
            with pytest.raises(openai.BadRequestError, match="tiny cannot see"):
                gpt.responses.create(model=model, input=asked)
        with pytest.raises(openai.BadRequestError, match="not kept"):
            gpt.conversations.create(items=said)

    def test_a_message(self, claude: anthropic.Anthropic, model: str) -> None:
        source: Any = {"type": "base64", "media_type": "image/png", "data": PNG}
        said: Any = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": WHO}]}]
        with pytest.raises(anthropic.BadRequestError, match="tiny cannot see"):
            claude.messages.create(model=model, max_tokens=5, messages=said)
        with pytest.raises(anthropic.BadRequestError, match="tiny cannot see"):
            claude.messages.count_tokens(model=model, messages=said)
        source.update(type="url", url="https://x.org/a.png")
        with pytest.raises(anthropic.BadRequestError, match="not fetched"):
            claude.messages.create(model=model, max_tokens=5, messages=said)

    def test_ollama(self, llama: ollama.Client, model: str) -> None:
        with pytest.raises(ollama.ResponseError, match="tiny cannot see"):
            llama.chat(model=model, messages=[{"role": "user", "content": WHO, "images": [PNG]}])
        with pytest.raises(ollama.ResponseError, match="tiny cannot see"):
            llama.generate(model=model, prompt=WHO, images=[PNG])
        assert "vision" not in (llama.show("tiny").capabilities or ())


class TestMemory:
    """Every dialect asks for one in its body, or by a header where a client's body cannot be changed."""

    def test_in_the_body_and_by_a_header(
        self, gpt: openai.OpenAI, server: Loopback, llama: ollama.Client, model: str
    ) -> None:
        asked: Any = {"model": model, "input": WHO, "temperature": 0, "extra_body": {"session_id": "m-1"}}
        plain = gpt.responses.with_raw_response.create(**asked)
        assert "x-anubhav-memory" not in plain.headers
        asked["extra_body"]["memory"] = True
        named = gpt.responses.with_raw_response.create(**asked).headers["x-anubhav-memory"]
        said: Any = {"x-session-id": "m-1", "x-anubhav-memory": "session"}
        with anthropic.Anthropic(base_url=server.url, auth_token=server.key, default_headers=said) as client:
            message = client.messages.with_raw_response.create(
                model=model, max_tokens=20, messages=[{"role": "user", "content": "And now?"}]
            )
        assert message.headers["x-anubhav-memory"].partition("@")[0] == named.partition("@")[0]
        kept = server.run(server.house.recorder.session("local", "m-1"))
        assert "Anubhav." in " ".join(one.content for one in kept[-1].messages)
        assert "It is me." not in " ".join(one.content for one in kept[-1].messages)
        with pytest.raises(openai.BadRequestError, match="X-Anubhav-Memory"):
            gpt.responses.create(model=model, input=WHO, extra_headers={"x-anubhav-memory": "maybe"})
