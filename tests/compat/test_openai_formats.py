"""Replies that are bent or held to a form, asked for with the unmodified OpenAI SDK and recorded as ever."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from loopback import Loopback
from openai import APIStatusError, LengthFinishReasonError, OpenAI
from pydantic import BaseModel, Field

ASK: Any = [{"role": "user", "content": "Who?"}]


class Item(BaseModel):
    size: Literal["s", "m", "l"]
    sold: bool


class Order(BaseModel):
    """What somebody wants."""

    items: list[Item] = Field(max_length=2)
    count: Literal[1, 2, 3]


@pytest.fixture(scope="module")
def client(tinker_server: Loopback) -> Iterator[OpenAI]:
    with OpenAI(base_url=tinker_server.url + "/v1", api_key=tinker_server.key, max_retries=0) as client:
        yield client


def inside(server: Loopback, work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, server.loop).result(30)


def test_a_model_class_is_parsed(client: OpenAI) -> None:
    parsed: list[Order] = []
    for seed in range(6):
        try:
            reply = client.chat.completions.parse(
                model="tiny", messages=ASK, response_format=Order, seed=seed, max_tokens=300
            )
        except LengthFinishReasonError:
            continue
        assert reply.choices[0].finish_reason == "stop"
        assert reply.choices[0].message.parsed is not None
        parsed.append(reply.choices[0].message.parsed)
    assert len(parsed) >= 3
    assert len({one.model_dump_json() for one in parsed}) > 1


def test_a_model_class_is_streamed(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="tiny", messages=ASK, response_format=Order, seed=1, max_tokens=300, temperature=0
    ) as stream:
        kinds = {event.type for event in stream}
        reply = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(reply.choices[0].message.parsed, Order)


def test_an_object_is_an_object(client: OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny", messages=ASK, response_format={"type": "json_object"}, max_tokens=400, seed=2, n=3
    )
    for choice in reply.choices:
        text = choice.message.content or ""
        assert text.lstrip()[:1] == "{"
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({"structured_outputs": {"regex": "[a-f]{3}"}}, "[a-f]{3}"),
        ({"structured_outputs": {"choice": ["yes", 'no "way"', "a.b"]}}, r'yes|no "way"|a\.b'),
        ({"structured_outputs": {"json": {"enum": ["x", 1]}}}, '"x"|1'),
        ({"structured_outputs": {"grammar": 'start: "<" /[0-9]/ ">"'}}, "<[0-9]>"),
        ({"guided_regex": "(up|down)!"}, "(up|down)!"),
        ({"guided_choice": ["left", "right"]}, "left|right"),
        ({"guided_json": '{"type": "boolean"}'}, "true|false"),
        ({"guided_grammar": 'start: "a" | "b"'}, "a|b"),
    ],
)
def test_vllms_names_are_understood_in_chats_and_completions(client: OpenAI, form: dict[str, Any], wanted: str) -> None:
    chat = client.chat.completions.create(model="tiny", messages=ASK, extra_body=form, n=3, max_tokens=60)
    plain = client.completions.create(model="tiny", prompt="Say", extra_body=form, n=3, max_tokens=60)
    said = [choice.message.content or "" for choice in chat.choices] + [choice.text for choice in plain.choices]
    assert all(re.fullmatch(wanted, text) for text in said), said
    assert {choice.finish_reason for choice in (*chat.choices, *plain.choices)} == {"stop"}


def test_a_grammar_that_is_too_long_is_refused_by_its_limit(client: OpenAI) -> None:
    with pytest.raises(APIStatusError, match="20,000") as caught:
        client.chat.completions.create(model="tiny", messages=ASK, extra_body={"guided_regex": "a" * 30_000})
    assert caught.value.status_code == 413


def test_a_bias_and_penalties(client: OpenAI, tinker_server: Loopback) -> None:
    renderer = tinker_server.house.renderers["tiny"]
    a, b = renderer.encode("ab")
    forced = client.chat.completions.create(model="tiny", messages=ASK, logit_bias={str(a): 100}, max_tokens=5)
    assert forced.choices[0].message.content == "aaaaa"
    both = client.completions.create(
        model="tiny", prompt="x", logit_bias={str(a): 100, str(b): 100}, presence_penalty=2, temperature=0, max_tokens=2
    )
    assert sorted(both.choices[0].text) == ["a", "b"]
    again = client.completions.create(
        model="tiny", prompt="x", logit_bias={str(a): 90, str(b): 90}, frequency_penalty=-2, temperature=0, max_tokens=9
    )
    assert len(set(again.choices[0].text)) == 1


def test_what_is_recorded_of_it_is_the_models_own(client: OpenAI, tinker_server: Loopback) -> None:
    """The tokens are those that were said, and their log-probabilities those of a model that was free."""
    reply = client.chat.completions.create(
        model="tiny", messages=ASK, response_format={"type": "json_object"}, seed=5, max_tokens=40, presence_penalty=1
    )
    kept = inside(tinker_server, tinker_server.house.recorder.find("local", reply.id))
    choice = kept.choices[0]
    assert choice.text == reply.choices[0].message.content
    scored = client.completions.create(
        model="tiny", prompt=[*kept.prompt_tokens, *choice.tokens], echo=True, logprobs=1, max_tokens=1
    )
    assert scored.choices[0].logprobs is not None
    told = (scored.choices[0].logprobs.token_logprobs or [])[len(kept.prompt_tokens) :][: len(choice.tokens)]
    assert told == pytest.approx(list(choice.logprobs), abs=1e-5)
