"""Replies that were held to a form are recorded and learned from like any other."""

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.episodes.recorder import Given
from anubhav.errors import BadInput
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.learning.presets import Preset, Recipe
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.experience import Probe
from anubhav.types.models import Model
from anubhav.types.sampling import Grammar

FORM = Grammar("regex", "yes|no")
QUICK = Preset(policy=Recipe(steps=6, learning_rate=0.5, warmup=1), anchor_tokens=8)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    write_model(tmp_path / "tiny")
    model = Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 512, 258)
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    async with AsyncExitStack() as stack:
        yield (await stack.enter_async_context(build(settings, {"tiny": model})))[0]


async def ask(house: House, text: str, n: int, grammar: Grammar | None = FORM) -> tuple[str, list[str]]:
    question = Question("default", (Message("user", text),), n, 12, seed=len(text), grammar=grammar)
    reply = await begin(house, "ada", question)
    texts = [""] * n
    async for piece in reply.pieces:
        texts[piece.index] += piece.text
    return reply.id, texts


async def test_thumbs_on_held_replies_teach_the_model_that_is_free(house: House) -> None:
    asked = {text: await ask(house, text, 16) for text in ("One?", "Two??", "Three?", "Number four?")}
    said = [text for _, texts in asked.values() for text in texts]
    assert set(said) == {"yes", "no"}
    await house.probes.add(
        Probe(f"pr_{number}", "target-liked", "likelihood", (Message("user", text),), "yes", "default")
        for number, text in enumerate(("Five?", "Six?", "Seven?", "Eight?", "Nine?", "Ten?"))
    )
    for name, texts in asked.values():
        given = [Given(f"{name}:{place}", "thumb", value=text == "yes") for place, text in enumerate(texts)]
        await react(house, "ada", given)
    done = await house.laps.wait(await start_lap(house, "default", "ada", QUICK))
    assert (done.state, done.report.get("failure"), done.report["rated"]) == ("done", None, 64)
    assert done.report["verdict"]["outcome"] == "pass", done.report["verdict"]  # type: ignore[index]
    _, after = await ask(house, "Eleven?", 32)
    assert after.count("yes") / 32 > said.count("yes") / 64


async def test_what_is_recorded_has_tokens_to_the_end_and_finite_chances(house: House) -> None:
    name, _ = await ask(house, "One?", 3)
    kept = await house.recorder.find("ada", name)
    stop = house.renderers["tiny"].stop_tokens[0]
    for choice in kept.choices:
        assert choice.stop_reason == "stop"
        assert choice.tokens[-1] == stop
        assert len(choice.tokens) == len(choice.text) + 1
        assert all(math.isfinite(one) and one < -1 for one in choice.logprobs), "a free model is not sure of these"


async def test_a_form_that_cannot_be_held_to_is_refused_before_the_reply_begins(house: House) -> None:
    for question in (
        Question("default", (Message("user", "?"),), grammar=Grammar("regex", "(")),
        Question("default", (Message("user", "?"),), logit_bias=((258, 1.0),)),
    ):
        with pytest.raises(BadInput, match=r"regular expression|logit_bias"):
            await begin(house, "ada", question)
