"""pydantic-ai: structured output through forced calls, over three APIs."""

from typing import Literal

from cases import KEY, MODEL, URL, V1, case, run
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=V1, api_key=KEY)
SETTINGS = {"max_tokens": 60}


class City(BaseModel):
    city: Literal["Paris", "Rome"]


@case("chat")
async def chat() -> None:
    said = await Agent(OpenAIChatModel(MODEL, provider=provider), model_settings=SETTINGS).run("Name a city.")
    assert said.output


@case("tools, forced")
async def forced() -> None:
    agent = Agent(OpenAIChatModel(MODEL, provider=provider), output_type=City, model_settings=SETTINGS)
    assert (await agent.run("Name a city.")).output.city in ("Paris", "Rome")


@case("responses")
async def responses() -> None:
    agent = Agent(OpenAIResponsesModel(MODEL, provider=provider), output_type=City, model_settings=SETTINGS)
    assert (await agent.run("Name a city.")).output.city in ("Paris", "Rome")


@case("streaming")
async def streaming() -> None:
    agent = Agent(OpenAIChatModel(MODEL, provider=provider), model_settings=SETTINGS)
    async with agent.run_stream("Name a city.") as stream:
        assert "".join([text async for text in stream.stream_text(delta=True)])


@case("Anthropic")
async def claude() -> None:
    over = AnthropicModel(MODEL, provider=AnthropicProvider(base_url=URL, api_key=KEY))
    assert (await Agent(over, output_type=City, model_settings=SETTINGS).run("Name a city.")).output.city


run()
