"""Instructor: structured output through a forced call and through a JSON schema."""

from typing import Literal

import instructor
import openai
from cases import KEY, MODEL, V1, case, run
from pydantic import BaseModel

ASK = [{"role": "user", "content": "Name a city."}]


class City(BaseModel):
    city: Literal["Paris", "Rome"]


def ask(mode: instructor.Mode) -> City:
    client = instructor.from_openai(openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0), mode=mode)
    # At temperature 1 a small model may write white space until the tokens are over.
    return client.chat.completions.create(model=MODEL, response_model=City, messages=ASK, max_tokens=60, temperature=0)


@case("tools, forced")
def forced() -> None:
    assert ask(instructor.Mode.TOOLS).city in ("Paris", "Rome")


@case("JSON schema")
def schema() -> None:
    assert ask(instructor.Mode.JSON_SCHEMA).city in ("Paris", "Rome")


run()
