"""DSPy, smolagents and Ollama's client."""

import dspy
import ollama
from cases import KEY, MODEL, URL, V1, case, run
from smolagents import OpenAIServerModel


@case("DSPy")
def dspy_asks() -> None:
    lm = dspy.LM(f"openai/{MODEL}", api_base=V1, api_key=KEY, max_tokens=16, cache=False)
    assert lm("Name a city.")


@case("smolagents")
def smolagents_asks() -> None:
    model = OpenAIServerModel(model_id=MODEL, api_base=V1, api_key=KEY, max_tokens=8)
    assert model([{"role": "user", "content": [{"type": "text", "text": "Name a city."}]}]).content


@case("Ollama")
def ollama_asks() -> None:
    client = ollama.Client(URL, headers={"Authorization": f"Bearer {KEY}"})
    assert MODEL in [one.model for one in client.list().models]
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Name a city."}], "options": {"num_predict": 8}}
    assert client.chat(**asked).message.content
    assert list(client.chat(**asked, stream=True))[-1].done


run()
