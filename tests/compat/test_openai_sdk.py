"""The unmodified OpenAI SDK against a server on loopback, over the fake backend."""

import asyncio
import math
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from school import teach

ASK: Any = [{"role": "user", "content": "Who?"}]


@pytest.fixture(scope="module", params=["/v1", "/oai/api/v1"])
def client(request: pytest.FixtureRequest, tinker_server: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=tinker_server.url + request.param, api_key=tinker_server.key, max_retries=0) as client:
        yield client


def inside(server: Any, work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` gives, run where the server runs."""
    return asyncio.run_coroutine_threadsafe(work, server.loop).result(30)


@pytest.fixture(scope="module")
def path(tinker_server: Any) -> str:
    """A checkpoint that answers `Who?` with `one, two`."""
    house = tinker_server.house
    return str(inside(tinker_server, teach(house.desk, house.renderers["tiny"], "local", "Who?", "one, two")).path)


def episode(server: Any, name: str) -> Any:
    return inside(server, server.house.recorder.find("local", name))


def running(server: Any) -> int:
    return server.house.voices._samplers["tiny"].running


def free_within(server: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while running(server) and time.monotonic() < end:
        time.sleep(0.01)
    return running(server) == 0


def test_models_and_names(client: OpenAI, path: str) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "default"]
    assert client.models.retrieve("default@stable").id == "default"
    for model in ("tiny", "default", "default@stable", path, f"tiny;{path}"):
        reply = client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=20)
        assert reply.choices[0].message.role == "assistant"
        assert (reply.choices[0].message.content == "one, two") is (path in model), model
    with pytest.raises(openai.NotFoundError, match="tiny, default"):
        client.chat.completions.create(model="gpt-9", messages=ASK)


def test_a_reply_is_an_episode_and_names_its_version(client: OpenAI, tinker_server: Any, path: str) -> None:
    reply = client.chat.completions.create(
        model=path, messages=ASK, temperature=0, extra_headers={"x-session-id": "s-1"}, user="somebody"
    )
    kept = episode(tinker_server, reply.id)
    assert (kept.session, kept.choices[0].text) == ("s-1", reply.choices[0].message.content)
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
        len(kept.prompt_tokens),
        len(kept.choices[0].tokens),
    )
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.system_fingerprint == kept.adapter
    assert reply.to_dict()["anubhav"] == {"base_model": "tiny", "adapter": kept.adapter, "path": path}
    named = client.chat.completions.create(model="default", messages=ASK, max_tokens=2, metadata={"session_id": "s-2"})
    assert episode(tinker_server, named.id).session == "s-2"


def test_a_stream_says_the_same_as_a_reply(client: OpenAI, tinker_server: Any) -> None:
    asked: Any = {"model": "default", "messages": ASK, "n": 3, "seed": 11, "max_tokens": 24, "temperature": 0.9}
    whole = client.chat.completions.create(**asked)
    texts, reasons, usage, name = [""] * 3, [""] * 3, None, ""
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage, name = chunk.usage or usage, chunk.id
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage
    assert [choice.text for choice in episode(tinker_server, name).choices] == texts
    assert len(set(texts)) == 3
    assert client.chat.completions.create(**{**asked, "seed": 12}).choices[0].message.content != texts[0]


def test_stop_strings(client: OpenAI, path: str) -> None:
    for stop in (",", ["never", ", t"]):
        reply = client.chat.completions.create(model=path, messages=ASK, temperature=0, stop=stop)
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("one", "stop")


def test_logprobs_are_those_of_what_was_sampled(client: OpenAI, tinker_server: Any) -> None:
    reply = client.chat.completions.create(
        model="tiny", messages=ASK, logprobs=True, top_logprobs=5, max_tokens=6, seed=3
    )
    kept = episode(tinker_server, reply.id).choices[0]
    assert reply.choices[0].logprobs is not None
    content = reply.choices[0].logprobs.content or []
    assert len(content) == 6
    assert sum(one.logprob for one in content) == pytest.approx(sum(kept.logprobs), abs=1e-6)
    assert [one.bytes for one in content] == [None if "�" in one.token else [*one.token.encode()] for one in content]
    for one in content:
        likely = [other.logprob for other in one.top_logprobs]
        assert len(likely) == 5
        assert likely == sorted(likely, reverse=True)
        assert sum(map(math.exp, likely)) < 1


def test_null_is_unset_and_the_unknown_is_ignored(client: OpenAI) -> None:
    names = (
        "n", "stop", "seed", "top_p", "temperature", "logprobs", "top_logprobs", "stream", "stream_options", "tools",
        "max_tokens", "response_format", "presence_penalty", "frequency_penalty", "logit_bias", "user", "metadata",
    )  # fmt: skip
    nothing: Any = {**dict.fromkeys(names), "verbosity": "low", "prompt_cache_key": "x", "made_up": {"a": 1}}
    reply = client.chat.completions.create(model="tiny", messages=ASK, max_completion_tokens=2, extra_body=nothing)
    assert reply.choices[0].message.content is not None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f x", "parameters": {}}}]}, "tools"),
        ({"tool_choice": "required"}, "no such tool"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}}, "not"),
        ({"structured_outputs": {"regex": "(a"}}, "unclosed"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structural_tag"),
        ({"structured_outputs": {"regex": "a"}, "guided_regex": "a"}, "one form"),
        ({"guided_regex": "(a{1000}){1000}", "stream": True}, "too much work"),
        ({"guided_json": "nonsense"}, "JSON"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "data URL"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
        ({"messages": [{"role": "user", "tool_calls": [{"function": {"name": "f"}}]}]}, "tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}]}, "name"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "role"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"presence_penalty": -2.5}, "presence_penalty"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"258": 1}}, "logit_bias.* 258"),
        ({"logit_bias": {"five": 1}}, "logit_bias.*five"),
        ({"logit_bias": {"258": 1}, "stream": True}, "logit_bias.* 258"),
        ({"temperature": True}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"n": 10_000}, "n:"),
        ({"top_p": 0}, "top_p"),
        ({"seed": 1 << 70}, "seed"),
        ({"stop": ["x"] * 99}, "stop"),
        ({"top_logprobs": 3}, "logprobs"),
        ({"messages": [{"role": "user", "content": "x" * 600}]}, "512|tokens"),
        ({"model": "tinker://a/b"}, "checkpoint path"),
    ],
)
def test_what_would_change_the_answer_is_refused(tinker_server: Any, wrong: dict[str, Any], says: str) -> None:
    asked: list[Any] = []
    counting = openai.DefaultHttpxClient(event_hooks={"request": [asked.append]})
    client = OpenAI(base_url=f"{tinker_server.url}/v1", api_key=tinker_server.key, http_client=counting)
    with client, pytest.raises(openai.BadRequestError, match=says) as caught:
        client.post("/chat/completions", body={"model": "tiny", "messages": ASK, **wrong}, cast_to=object)
    assert len(asked) == 1, "the SDK repeated what cannot succeed"
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


def test_only_a_known_key_is_answered_and_paths_are_their_tenants(tinker_server: Any, path: str) -> None:
    wrong = OpenAI(base_url=f"{tinker_server.url}/v1", api_key="tml-wrong")
    with wrong as stranger, pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="tiny", messages=ASK)
    with OpenAI(base_url=f"{tinker_server.url}/v1", api_key=tinker_server.add_key("openai-eve")) as other:
        with pytest.raises(openai.NotFoundError):
            other.chat.completions.create(model=path, messages=ASK)
        other.chat.completions.create(model="tiny", messages=ASK, max_tokens=2)


LONG: Any = {"model": "tiny", "messages": ASK, "n": 128, "max_tokens": 480}
"""Seconds of work."""


def test_a_stream_closed_early_frees_its_slots(client: OpenAI, tinker_server: Any) -> None:
    with client.chat.completions.create(**LONG, stream=True) as stream:
        name = next(iter(stream)).id
        assert running(tinker_server)
    assert free_within(tinker_server, 1.0)
    with pytest.raises(Exception, match="no reply"):
        episode(tinker_server, name)


def test_a_caller_that_hangs_up_frees_its_slots(client: OpenAI, tinker_server: Any) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(**LONG)
    assert free_within(tinker_server, 1.0)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).completions.create(model="tiny", prompt=["a"] * 8, n=16, max_tokens=480)
    assert free_within(tinker_server, 1.0)


def test_what_breaks_on_our_side_is_said_even_in_a_stream(client: OpenAI, tinker_server: Any) -> None:
    house = tinker_server.house
    taught = inside(tinker_server, teach(house.desk, house.renderers["tiny"], "local", "Who?", client.base_url.path))
    (inside(tinker_server, house.desk.checkpoints.folder(taught)) / "adapter_config.json").unlink()
    asked: Any = {"model": str(taught.path), "messages": ASK}
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(**asked)
    assert caught.value.request_id in str(caught.value)
    with pytest.raises(openai.APIError, match="The server failed"):
        list(client.chat.completions.create(**asked, stream=True))


def test_completions(client: OpenAI, tinker_server: Any) -> None:
    asked: Any = {"model": "tiny", "max_tokens": 12, "seed": 5, "logprobs": 2}
    text = client.completions.create(prompt="abc", **asked)
    ids = client.completions.create(prompt=list(tinker_server.house.renderers["tiny"].encode("abc")), **asked)
    many = client.completions.create(prompt=["xyz", "abc"], n=2, **asked)
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    assert text.choices[0].text == ids.choices[0].text == many.choices[2].text != many.choices[3].text
    assert text.usage is not None
    assert text.usage.prompt_tokens == 3
    streamed = ""
    for chunk in client.completions.create(prompt="abc", stream=True, **asked):
        streamed += chunk.choices[0].text
    assert streamed == text.choices[0].text
    assert (
        client.completions.create(prompt="abc", model="tiny", stop=streamed[3:5], seed=5).choices[0].text
        == (streamed.partition(streamed[3:5])[0])
    )


def test_echoed_scores_are_those_of_a_reading(client: OpenAI) -> None:
    """What lm-eval asks: the prompt's own scores, with one token more."""
    asked: Any = {"model": "tiny", "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}
    short, long = (client.completions.create(prompt=text, **asked).choices[0] for text in ("héllo", "héllo you"))
    assert short.logprobs is not None
    assert long.logprobs is not None
    assert long.text.startswith("héllo you")
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert len(getattr(long.logprobs, name)) == len("héllo you".encode()) + 1
        assert getattr(long.logprobs, name)[:6] == getattr(short.logprobs, name)[:6]
    assert long.logprobs.token_logprobs is not None
    assert long.logprobs.token_logprobs[0] is None
    assert all(score is not None and score < 0 for score in long.logprobs.token_logprobs[1:])
    assert long.logprobs.text_offset == [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    for wrong in ({"suffix": "x"}, {"best_of": 3}, {"prompt": []}, {"prompt": [-1]}, {"stream": True}):
        with pytest.raises(openai.BadRequestError):
            client.post("/completions", body={"prompt": "a", **asked, **wrong}, cast_to=object)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"model": "tiny"}', b'{"model": "tiny", "messages": [{"role": "user"}], "temperature": NaN}'],
)
def test_errors_have_one_shape(tinker_server: Any, body: bytes) -> None:
    with httpx2.Client(base_url=tinker_server.url, headers={"x-api-key": tinker_server.key}) as raw:
        answer = raw.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert {"message", "type", "param", "code"} <= answer.json()["error"].keys()
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
