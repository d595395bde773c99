"""No model that is served here sees: the unmodified SDKs are told so in each dialect, and by which model."""

import base64
from collections.abc import Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest
from loopback import Loopback

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
DATA = f"data:image/png;base64,{PNG}"
BLIND = "tiny cannot see"


@pytest.fixture(scope="module")
def gpt(tinker_server: Loopback) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tinker_server.url}/v1", api_key=tinker_server.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(("url", "says"), [(DATA, BLIND), ("https://x.org/a.png", "not fetched")])
def test_a_chat(gpt: openai.OpenAI, url: str, says: str) -> None:
    part: Any = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(openai.BadRequestError, match=says):
        gpt.chat.completions.create(model="default", messages=[{"role": "user", "content": [part]}])


def test_a_response_and_a_conversation(gpt: openai.OpenAI) -> None:
    part: Any = {"type": "input_image", "image_url": DATA}
    said: Any = [{"role": "user", "content": [part, {"type": "input_text", "text": "What is this?"}]}]
    output: Any = [{"type": "function_call_output", "call_id": "c", "output": [part]}]
    for asked in (said, output):
        with pytest.raises(openai.BadRequestError, match=BLIND):
            gpt.responses.create(model="tiny", input=asked)
    with pytest.raises(openai.BadRequestError, match="not kept"):
        gpt.conversations.create(items=said)


def test_a_system_message_beside_tools(gpt: openai.OpenAI) -> None:
    part: Any = {"type": "image_url", "image_url": {"url": DATA}}
    said: Any = [{"role": "system", "content": [part]}, {"role": "user", "content": "x"}]
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with pytest.raises(openai.BadRequestError, match=BLIND):
        gpt.chat.completions.create(model="tiny", messages=said, tools=[tool])


def test_a_message(tinker_server: Loopback) -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": PNG}
    said: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    result: Any = [{"type": "tool_result", "tool_use_id": "t", "content": said[0]["content"]}]
    with anthropic.Anthropic(base_url=tinker_server.url, auth_token=tinker_server.key, max_retries=0) as claude:
        for asked in (said, [{"role": "user", "content": result}]):
            with pytest.raises(anthropic.BadRequestError, match=BLIND):
                claude.messages.create(model="tiny", max_tokens=5, messages=asked)
        with pytest.raises(anthropic.BadRequestError, match=BLIND):
            claude.messages.count_tokens(model="tiny", messages=said)
        source.update(type="url", url="https://x.org/a.png")
        with pytest.raises(anthropic.BadRequestError, match="not fetched"):
            claude.messages.create(model="tiny", max_tokens=5, messages=said)


def test_ollama(tinker_server: Loopback) -> None:
    llama = ollama.Client(tinker_server.url, headers={"Authorization": f"Bearer {tinker_server.key}"})
    with pytest.raises(ollama.ResponseError, match=BLIND):
        llama.chat(model="tiny", messages=[{"role": "user", "content": "x", "images": [PNG]}])
    with pytest.raises(ollama.ResponseError, match=BLIND):
        llama.generate(model="tiny", prompt="x", images=[PNG])
    assert "vision" not in (llama.show("tiny").capabilities or ())
    llama._client.close()
