"""LiteLLM, which speaks to us as OpenAI, as vLLM and as Anthropic."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from cases import KEY, MODEL, URL, V1, case, run

ASK = [{"role": "user", "content": "Name a city."}]


@case("chat")
def chat() -> None:
    for kind in ("openai", "hosted_vllm"):
        reply = litellm.completion(f"{kind}/{MODEL}", messages=ASK, api_base=V1, api_key=KEY, max_tokens=8)
        assert reply.choices[0].message.content, kind


@case("streaming")
def streaming() -> None:
    stream = litellm.completion(f"openai/{MODEL}", messages=ASK, api_base=V1, api_key=KEY, max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)


@case("completions")
def completions() -> None:
    reply = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="One, two,", api_base=V1, api_key=KEY, max_tokens=4
    )
    assert reply.choices[0].text


@case("Anthropic")
def claude() -> None:
    reply = litellm.completion(f"anthropic/{MODEL}", messages=ASK, api_base=URL, api_key=KEY, max_tokens=8)
    assert reply.choices[0].message.content


@case("responses")
def responses() -> None:
    reply = litellm.responses(
        model=f"openai/{MODEL}", input="Name a city.", api_base=V1, api_key=KEY, max_output_tokens=16
    )
    assert reply.output


@case("embeddings")
def embeddings() -> None:
    found = litellm.embedding(f"openai/{MODEL}", input=["one"], api_base=V1, api_key=KEY)
    assert len(found.data[0]["embedding"]) > 8


run()
