"""The anthropic SDK."""

import anthropic
from cases import KEY, MODEL, SCHEMA, URL, case, run

client = anthropic.Anthropic(base_url=URL, auth_token=KEY, max_retries=0)
ASK = [{"role": "user", "content": "Name a city."}]
TOOLS = [{"name": "visit", "description": "Visits a city.", "input_schema": SCHEMA}]


@case("models")
def models() -> None:
    assert MODEL in [model.id for model in client.models.list()]


@case("chat")
def chat() -> None:
    reply = client.messages.create(model=MODEL, max_tokens=8, messages=ASK, system="Be brief.")
    assert reply.content[0].text
    assert client.messages.count_tokens(model=MODEL, messages=ASK).input_tokens > 5


@case("streaming")
def streaming() -> None:
    with client.messages.stream(model=MODEL, max_tokens=8, messages=ASK) as stream:
        assert "".join(stream.text_stream) == stream.get_final_message().content[0].text


@case("tools, forced")
def forced() -> None:
    more = {"model": MODEL, "max_tokens": 60, "tools": TOOLS}
    reply = client.messages.create(messages=ASK, tool_choice={"type": "any"}, **more)
    call = next(block for block in reply.content if block.type == "tool_use")
    assert call.input["city"] in ("Paris", "Rome")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "done"}
    then = [*ASK, {"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(messages=then, **more).stop_reason


@case("errors")
def errors() -> None:
    try:
        client.messages.create(model="nobody", max_tokens=8, messages=ASK)
    except anthropic.NotFoundError as problem:
        assert "nobody" in problem.message
    else:
        raise AssertionError("an unknown model answered")


run()
