"""The openai SDK, whichever of its major versions is installed."""

import json
import time

import openai
from cases import KEY, MODEL, SCHEMA, V1, case, run

client = openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0)
ASK = [{"role": "user", "content": "Name a city."}]
TOOL = {"type": "function", "function": {"name": "visit", "description": "Visits a city.", "parameters": SCHEMA}}


@case("models")
def models() -> None:
    assert MODEL in [model.id for model in client.models.list()]


@case("chat")
def chat() -> None:
    reply = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8)
    assert reply.choices[0].message.content is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


@case("streaming")
def streaming() -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")


@case("tools, forced")
def forced() -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=ASK, tools=[TOOL], tool_choice="required", max_tokens=60, parallel_tool_calls=False
    )
    call = reply.choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    then = [*ASK, reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    assert client.chat.completions.create(model=MODEL, messages=then, tools=[TOOL], max_tokens=8).choices


@case("JSON schema")
def schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    reply = client.chat.completions.create(model=MODEL, messages=ASK, response_format=form, max_tokens=40)
    assert json.loads(reply.choices[0].message.content)["city"] in ("Paris", "Rome")


@case("log-probabilities")
def logprobs() -> None:
    reply = client.chat.completions.create(model=MODEL, messages=ASK, logprobs=True, top_logprobs=2, max_tokens=4)
    assert len(reply.choices[0].logprobs.content[0].top_logprobs) == 2


@case("completions")
def completions() -> None:
    reply = client.completions.create(model=MODEL, prompt="One, two,", max_tokens=4, logprobs=1, echo=True)
    assert reply.choices[0].text.startswith("One, two,")


@case("embeddings")
def embeddings() -> None:
    found = client.embeddings.create(model=MODEL, input=["one", "two"])
    assert len(found.data) == 2
    assert len(found.data[0].embedding) > 8


if hasattr(client, "responses"):

    @case("responses")
    def responses() -> None:
        first = client.responses.create(model=MODEL, input="Name a city.", max_output_tokens=8)
        assert first.output_text
        then = client.responses.create(
            model=MODEL, input="Another.", previous_response_id=first.id, max_output_tokens=8
        )
        assert then.id != first.id

    @case("responses, streamed")
    def responses_streamed() -> None:
        events = list(client.responses.create(model=MODEL, input="Name a city.", max_output_tokens=8, stream=True))
        assert events[-1].type in ("response.completed", "response.incomplete")

    @case("responses in the background")
    def background() -> None:
        begun = client.responses.create(model=MODEL, input="Name a city.", max_output_tokens=8, background=True)
        assert begun.status == "queued"
        for _ in range(600):
            found = client.responses.retrieve(begun.id)
            if found.status not in ("queued", "in_progress"):
                break
            time.sleep(0.1)
        assert found.output_text
        client.responses.delete(begun.id)
        try:
            client.responses.retrieve(begun.id)
        except openai.NotFoundError:
            return
        raise AssertionError("a deleted response was found")


if hasattr(client, "conversations"):

    @case("conversations")
    def conversations() -> None:
        talk = client.conversations.create(items=[{"role": "user", "content": "I am Ada."}], metadata={"a": "b"})
        reply = client.responses.create(model=MODEL, input="Name a city.", conversation=talk.id, max_output_tokens=8)
        items = list(client.conversations.items.list(talk.id, order="asc", limit=2))
        assert [item.role for item in items if item.type == "message"] == ["user", "user", "assistant"]
        assert items[-1].content[0].text == reply.output_text
        client.conversations.items.delete(items[0].id, conversation_id=talk.id)
        assert client.conversations.delete(talk.id).deleted


@case("errors")
def errors() -> None:
    try:
        client.chat.completions.create(model="nobody", messages=ASK)
    except openai.NotFoundError as problem:
        assert "nobody" in problem.message
    else:
        raise AssertionError("an unknown model answered")


run()
