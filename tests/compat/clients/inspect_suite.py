"""Inspect, which asks through Responses, through chat and through Anthropic's API."""

import asyncio
import os

from cases import KEY, MODEL, URL, V1, case, run

os.environ |= {
    "OPENAI_BASE_URL": V1, "OPENAI_API_KEY": KEY, "OURS_BASE_URL": V1, "OURS_API_KEY": KEY,
    "ANTHROPIC_BASE_URL": URL, "ANTHROPIC_API_KEY": KEY, "VLLM_BASE_URL": V1, "VLLM_API_KEY": KEY,
}  # fmt: skip

from inspect_ai.model import GenerateConfig, get_model


def ask(name: str, **more: object) -> None:
    found = asyncio.run(get_model(name, config=GenerateConfig(max_tokens=16, **more)).generate("Name a city."))
    assert found.completion, name


@case("responses")
def responses() -> None:
    ask(f"openai/{MODEL}")


@case("chat")
def chat() -> None:
    ask(f"openai-api/ours/{MODEL}")


@case("log-probabilities")
def logprobs() -> None:
    ask(f"openai-api/ours/{MODEL}", logprobs=True, top_logprobs=2)


@case("vLLM's way")
def vllm() -> None:
    ask(f"vllm/{MODEL}")


@case("Anthropic")
def claude() -> None:
    ask(f"anthropic/{MODEL}")


run()
