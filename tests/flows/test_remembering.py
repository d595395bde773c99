"""A memory in the prompt of a real engine: what is kept of it from turn to turn is not computed again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tiny_llama import write_talking_llama

from anubhav.app import build
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.questions import Question
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.models import Model
from anubhav.types.remembering import MemoryUse


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    write_talking_llama(tmp_path / "tiny", context=4096)
    model = Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 4096, 258)
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    async with build(settings, {"tiny": model}) as (house, _):
        yield house


async def turn(house: House, text: str, system: str = "") -> tuple[int, int]:
    """Tokens of the prompt, and how many of them were computed for an earlier turn."""
    messages = (*([Message("system", system)] if system else []), Message("user", text))
    question = Question("default", messages, session="s", memory=MemoryUse(1500), max_tokens=8, seed=1)
    reply = await begin(house, "ann", question)
    pieces = [piece async for piece in reply.pieces]
    return len(reply.prompt_tokens), max(piece.cached for piece in pieces)


async def test_a_kept_beginning_is_not_computed_again(house: House) -> None:
    for number in range(6):
        size, cached = await turn(house, f"Fact {number}: the harbour has {number * 7} ships today.")
    assert cached > 0.6 * size, (size, cached)
    size, cached = await turn(house, "How many?", system="Salt at the beginning.")
    assert cached < 0.2 * size, "another beginning shares nothing"
