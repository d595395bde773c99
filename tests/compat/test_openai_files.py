"""Files and embeddings with the unmodified OpenAI SDK, and the tokenizer as lm-eval's remote tokenizer asks for it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI


@pytest.fixture(scope="module")
def client(tinker_server: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{tinker_server.url}/v1", api_key=tinker_server.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def own(tinker_server: Any) -> Iterator[OpenAI]:
    """Of a tenant that has nothing yet."""
    key = tinker_server.add_key("files-alice")
    with OpenAI(base_url=f"{tinker_server.url}/oai/api/v1", api_key=key, max_retries=0) as own:
        yield own


def test_a_file_is_kept_as_it_came(client: OpenAI) -> None:
    data = bytes(range(256)) * 9000 + b"\r\n--x"
    made = client.files.create(file=("a b.bin", data), purpose="user_data")
    assert (made.bytes, made.filename, made.purpose, made.status) == (len(data), "a b.bin", "user_data", "processed")
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == data
    assert client.files.wait_for_processing(made.id).id == made.id
    assert client.files.delete(made.id).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            gone(made.id)


def test_files_are_listed_by_page(own: OpenAI) -> None:
    made = [own.files.create(file=(f"{number}", b"x"), purpose="batch").id for number in range(5)]
    other = own.files.create(file=("other", b"x"), purpose="evals").id
    assert [file.id for file in own.files.list(limit=2)] == [other, *reversed(made)]
    assert [file.id for file in own.files.list(limit=2, order="asc", purpose="batch")] == made
    page = own.files.list(after=made[2], limit=1)
    assert [file.id for file in page.data] == [made[1]]
    assert page.has_more
    own.files.delete(made[4])
    assert own.files.content(made[3]).read() == b"x", "equal bytes are kept for whoever still has them"


def test_files_may_be_given_a_time_to_live(client: OpenAI) -> None:
    lasting: Any = {"anchor": "created_at", "seconds": 3600}
    made = client.files.create(file=("x", b"x"), purpose="batch", expires_after=lasting)
    assert made.expires_at == made.created_at + 3600
    with pytest.raises(openai.BadRequestError, match="3600"):
        client.files.create(file=("x", b"x"), purpose="batch", expires_after={**lasting, "seconds": 5})


def test_files_that_are_none_are_refused(client: OpenAI, tinker_server: Any) -> None:
    purpose: Any = "poetry"
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("x", b"x"), purpose=purpose)
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.files.create(file=("x", b""), purpose="batch")
    headers = {"authorization": f"Bearer {tinker_server.key}"}
    for sent in (
        {"json": {"purpose": "batch"}},
        {"content": b"--x", "headers": headers | {"content-type": "multipart/form-data"}},
    ):
        answer = httpx2.post(f"{tinker_server.url}/v1/files", **{"headers": headers, **sent})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_files_are_their_tenants(client: OpenAI, own: OpenAI) -> None:
    mine = client.files.create(file=("x", b"secret"), purpose="user_data").id
    for reach in (own.files.retrieve, own.files.content, own.files.delete):
        with pytest.raises(openai.NotFoundError):
            reach(mine)
    assert mine not in [file.id for file in own.files.list()]
    assert client.files.content(mine).read() == b"secret"


def test_embeddings_are_of_unit_length_in_either_encoding(client: OpenAI) -> None:
    texts = ["a cup of tea", "a cup of tea.", "4711 is a number"]
    found = client.embeddings.create(model="tiny", input=texts)
    plain = client.embeddings.create(model="tiny", input=texts, encoding_format="float")
    vectors = [one.embedding for one in found.data]
    assert [one.index for one in found.data] == [0, 1, 2]
    for packed, vector in zip(vectors, [one.embedding for one in plain.data], strict=True):
        assert packed == pytest.approx(vector, abs=1e-6)
        assert math.hypot(*packed) == pytest.approx(1)
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2])
    assert found.usage.prompt_tokens == found.usage.total_tokens == sum(map(len, texts))
    assert found.model == "tiny"


def test_what_is_embedded_may_come_in_four_forms(client: OpenAI, tinker_server: Any) -> None:
    renderer = tinker_server.house.renderers["tiny"]
    texts = ["tea", "milk"]
    tokens = [list(renderer.encode(text)) for text in texts]
    wanted = [one.embedding for one in client.embeddings.create(model="default", input=texts).data]
    assert [one.embedding for one in client.embeddings.create(model="tiny", input=tokens).data] == wanted
    assert client.embeddings.create(model="tiny", input=tokens[0]).data[0].embedding == wanted[0]
    assert client.embeddings.create(model="tiny", input=texts[1]).data[0].embedding == wanted[1]
    few = client.embeddings.create(model="tiny", input=texts[0], dimensions=8).data[0].embedding
    length = math.hypot(*wanted[0][:8])
    assert few == pytest.approx([value / length for value in wanted[0][:8]], abs=1e-6)


def test_a_long_text_is_read_to_its_end(client: OpenAI) -> None:
    start = "x" * 2000
    first, second = (
        one.embedding for one in client.embeddings.create(model="tiny", input=[f"{start}tea", f"{start}milk"]).data
    )
    assert first != second


@pytest.mark.parametrize(
    "wrong", [{"input": ""}, {"input": []}, {"input": [[]]}, {"input": [99_999]}, {"dimensions": 9999}, {"input": {}}]
)
def test_what_cannot_be_embedded_is_refused(client: OpenAI, wrong: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.post("/embeddings", body={"model": "tiny", "input": "x", **wrong}, cast_to=object)


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


class Remote:
    """What lm-eval 0.4.13's RemoteTokenizer sends, request by request."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.headers = url, {"authorization": f"Bearer {key}"}

    def info(self) -> dict[str, Any]:
        return httpx2.get(f"{self.url}/tokenizer_info", headers=self.headers).raise_for_status().json()

    def encode(self, text: str) -> list[int]:
        return self.tokenize(prompt=text, add_special_tokens=False)["tokens"]

    def decode(self, tokens: list[int]) -> str:
        sent = {"tokens": tokens}
        answer = httpx2.post(f"{self.url}/detokenize", json=sent, headers=self.headers)
        return answer.raise_for_status().json()["prompt"]

    def tokenize(self, **body: Any) -> dict[str, Any]:
        return httpx2.post(f"{self.url}/tokenize", json=body, headers=self.headers).raise_for_status().json()


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_remote_tokenizer_is_the_models_own(tinker_server: Any, prefix: str) -> None:
    remote, renderer = Remote(tinker_server.url + prefix, tinker_server.key), tinker_server.house.renderers["tiny"]
    info = remote.info()
    assert (info["eos_token"], info["bos_token"], info["pad_token"]) == ("<|im_end|>", None, None)
    assert remote.encode(info["eos_token"]) == [renderer.control_token("<|im_end|>")]
    text = "naïve 日本 <|im_start|>user"
    assert remote.decode(remote.encode(text)) == text
    found = remote.tokenize(model="tiny", prompt="tea", return_token_strs=True)
    assert found == {
        "count": 3,
        "max_model_len": 512,
        "tokens": [*renderer.encode("tea")],
        "token_strs": ["t", "e", "a"],
    }
    assert "add_generation_prompt" in info["chat_template"]


def test_a_chat_is_tokenized_by_its_template(tinker_server: Any) -> None:
    remote = Remote(tinker_server.url, tinker_server.key)
    said = [{"role": "user", "content": "hi"}]
    text = "<|im_start|>user\nhi<|im_end|>\n"
    assert remote.decode(remote.tokenize(messages=said)["tokens"]) == f"{text}<|im_start|>assistant\n"
    assert remote.decode(remote.tokenize(messages=said, add_generation_prompt=False)["tokens"]) == text
    tool = {"type": "function", "function": {"name": "weigh", "parameters": {}}}
    assert "weigh" in remote.decode(remote.tokenize(messages=said, tools=[tool])["tokens"])


def test_tokenizing_needs_a_key_and_sense(tinker_server: Any) -> None:
    url, headers = tinker_server.url, {"authorization": f"Bearer {tinker_server.key}"}
    assert httpx2.get(f"{url}/tokenizer_info").status_code == 401
    assert httpx2.post(f"{url}/tokenize", json={"prompt": "x"}).status_code == 401
    for place, wrong in (
        ("tokenize", {}),
        ("tokenize", {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}),
        ("detokenize", {"tokens": [258]}),
        ("detokenize", {"tokens": [-1]}),
        ("detokenize", {}),
    ):
        assert httpx2.post(f"{url}/{place}", json=wrong, headers=headers).status_code == 400, (place, wrong)
    unknown = {"prompt": "x", "model": "gpt-9"}
    assert httpx2.post(f"{url}/tokenize", json=unknown, headers=headers).status_code == 404
