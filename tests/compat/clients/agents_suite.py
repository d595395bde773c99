"""OpenAI's Agents SDK, over Responses as it comes and over chat."""

from typing import Literal

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from cases import KEY, MODEL, V1, case, run
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)
SETTINGS = ModelSettings(max_tokens=60)


class City(BaseModel):
    city: Literal["Paris", "Rome"]


@function_tool
def visit(city: Literal["Paris", "Rome"]) -> str:
    """Visits a city."""
    return f"{city} was visited"


def model(kind: type = OpenAIResponsesModel) -> object:
    return kind(MODEL, AsyncOpenAI(base_url=V1, api_key=KEY, max_retries=0))


@case("responses")
async def plain() -> None:
    said = await Runner.run(
        Agent("a", instructions="Be brief.", model=model(), model_settings=SETTINGS), "Name a city."
    )
    assert said.final_output


@case("chat")
async def chat() -> None:
    over = model(OpenAIChatCompletionsModel)
    said = await Runner.run(Agent("a", model=over, model_settings=SETTINGS), "Name a city.")
    assert said.final_output


@case("JSON schema")
async def schema() -> None:
    agent = Agent("a", model=model(), output_type=City, model_settings=SETTINGS)
    assert (await Runner.run(agent, "Name a city.")).final_output.city in ("Paris", "Rome")


@case("tools, forced")
async def forced() -> None:
    settings = ModelSettings(max_tokens=60, tool_choice="required")
    agent = Agent("a", model=model(), tools=[visit], model_settings=settings, tool_use_behavior="stop_on_first_tool")
    assert "was visited" in (await Runner.run(agent, "Visit Rome.")).final_output


@case("agent loop")
async def loop() -> None:
    settings = ModelSettings(max_tokens=60, tool_choice="required")
    said = await Runner.run(Agent("a", model=model(), tools=[visit], model_settings=settings), "Visit Rome.")
    assert any(item.type == "tool_call_output_item" for item in said.new_items)


@case("responses, streamed")
async def streamed() -> None:
    said = Runner.run_streamed(Agent("a", model=model(), model_settings=SETTINGS), "Name a city.")
    kinds = [event.type async for event in said.stream_events()]
    assert "raw_response_event" in kinds
    assert said.final_output


run()
