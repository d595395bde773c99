"""LangChain and LangGraph, over OpenAI's and Anthropic's APIs."""

from typing import Literal

from cases import KEY, MODEL, URL, V1, case, run
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

chat = ChatOpenAI(model=MODEL, base_url=V1, api_key=KEY, max_tokens=40, max_retries=0)


class City(BaseModel):
    """A city."""

    city: Literal["Paris", "Rome"]


@tool
def visit(city: Literal["Paris", "Rome"]) -> str:
    """Visits a city."""
    return f"{city} was visited"


@case("chat")
def plain() -> None:
    assert chat.invoke("Name a city.").content


@case("streaming")
def streaming() -> None:
    assert "".join(chunk.text for chunk in chat.stream("Name a city."))


@case("JSON schema")
def schema() -> None:
    assert chat.with_structured_output(City, method="json_schema").invoke("Name a city.").city in ("Paris", "Rome")


@case("tools, forced")
def forced() -> None:
    assert chat.with_structured_output(City, method="function_calling").invoke("Name a city.").city
    assert chat.bind_tools([visit], tool_choice="visit").invoke("Visit Rome.").tool_calls[0]["name"] == "visit"


@case("agent loop")
def agent() -> None:
    said = create_agent(chat, [visit]).invoke({"messages": [("user", "Visit Rome.")]})
    assert said["messages"][-1].type == "ai"


@case("responses")
def responses() -> None:
    over = ChatOpenAI(model=MODEL, base_url=V1, api_key=KEY, max_tokens=16, use_responses_api=True)
    assert over.invoke("Name a city.").text


@case("Anthropic")
def claude() -> None:
    assert ChatAnthropic(model=MODEL, base_url=URL, api_key=KEY, max_tokens=8).invoke("Name a city.").content


@case("embeddings")
def embeddings() -> None:
    over = OpenAIEmbeddings(model=MODEL, base_url=V1, api_key=KEY, check_embedding_ctx_length=False)
    assert len(over.embed_query("one")) > 8


run()
