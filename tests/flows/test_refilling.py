"""Refilling over the fake backend: what memories had to shorten teaches a refiller, and only a better one writes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.errors import BadInput, Busy
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.questions import Question
from anubhav.flows.refilling import teach_refiller
from anubhav.flows.writing import HOUSE
from anubhav.learning.presets import Preset, Recipe
from anubhav.memory.scoring import FIXED
from anubhav.settings import Settings
from anubhav.training.client import RunClient
from anubhav.types.chat import Message
from anubhav.types.memory import Decision
from anubhav.types.models import Model
from anubhav.types.people import Edge
from anubhav.types.remembering import LedgerFilter, MemoryUse
from anubhav.types.training import LoraSpec

CONTEXT = 8192
QUICK = Preset(imitation=Recipe(steps=5, learning_rate=0.9, warmup=1))
SLOW = Preset(imitation=Recipe(steps=1, learning_rate=1e-6))
"""Teaches nothing that could be noticed."""
FILLING = ("really", "just", "also", "very", "maybe", "well", "too", "here", "there", "yes")
FACT, SHORT = "boat 12 red sails, Goa crew", "boat 12 red sails Goa crew"
WRITTEN, TAKEN_OUT = "written shorter by the model", "words taken out"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    write_model(tmp_path / "tiny", CONTEXT)
    write_model(tmp_path / "other", CONTEXT)
    models = {name: Model(name, tmp_path / name, "Apache-2.0", "folder", CONTEXT, 258) for name in ("tiny", "other")}
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    async with build(settings, models) as (house, _):
        yield house


def talk(first: int, count: int) -> list[Message]:
    """The same with other joining words around it, every second time said twice: that can be told in half the words."""
    said: list[Message] = []
    for number in range(first, first + count):
        around = f"{FILLING[number % 10]} it was {FILLING[number // 10 % 10]}"
        text = f"{around} the {FACT}, and " * (1 + number % 2) + around
        said.append(Message("user" if number % 2 else "assistant", text))
    return said


async def chat(house: House, session: str, *messages: Message, train: bool = True) -> tuple[str, str]:
    """Its memory and the reply."""
    asked = (*messages, Message("user", "ok?"))
    question = Question(
        "default", asked, session=session, user=f"user-{session}", memory=MemoryUse(500), max_tokens=2, seed=1,
        trainable=train,
    )  # fmt: skip
    reply = await begin(house, "ann", question)
    _ = [piece async for piece in reply.pieces]
    return (reply.memory or "").partition("@")[0], reply.id


async def shortened(house: House, session: str) -> list[Decision]:
    """How a full memory of another conversation shortens it."""
    memory, _ = await chat(house, session, *talk(40, 20))
    lines = await house.memories.ledger(memory, LedgerFilter(act="compressed"), limit=500)
    assert lines
    return [line.decision for line in lines]


async def refiller(house: House, model: str) -> str:
    """The path of one that was taught nothing."""
    run = await RunClient.start(house.desk, HOUSE, model, LoraSpec(rank=1), tag="refiller")
    path = str((await run.save("refiller", "weights")).path)
    await run.end()
    await house.memory_policies.activate("ann", replace(FIXED, name=path, refiller=path), "ann", "to try")
    return path


async def test_what_had_to_be_shortened_teaches_a_refiller_that_writes_from_then_on(house: House) -> None:
    _, reply = await chat(house, "s", *talk(0, 32))
    taught = await teach_refiller(house, "ann", "ann", QUICK)
    policy = await house.memory_policies.of("ann")
    assert (taught.change.action, taught.change.policy, policy.weights) == ("activate", policy, FIXED.weights), taught
    assert (taught.passages + taught.held_out, taught.accepted) == (32, (0.0, 1.0))
    assert taught.gain[0] == 0 < taught.gain[1]
    assert "writes better: 0.000 to 0.0" in taught.change.why
    assert f"{policy.name} refilled in batch 0" in [f"{one.to} {one.what}" for one in (await trace(house, reply))]
    written = [line for line in await shortened(house, "t") if line.why == WRITTEN]
    assert {line.after for line in written} == {SHORT}
    assert any(line.before.count(FACT) == 2 for line in written)
    again = await teach_refiller(house, "ann", "ann", SLOW)
    assert (again.change.action, again.gain[0]) == ("discard", again.gain[1]), "there is nothing left to gain"
    assert [str(one.path) for one in await house.desk.checkpoints.list(HOUSE, None)] == [policy.refiller]
    back = await house.memory_policies.rollback("ann", "ann", "to try")
    assert back.policy == FIXED
    assert {line.why for line in await shortened(house, "u")} == {TAKEN_OUT}
    assert await house.desk.checkpoints.find(HOUSE, policy.refiller or "")


async def trace(house: House, reply: str) -> tuple[Edge, ...]:
    return (await house.lineage.trace(reply)).onward


async def test_one_that_is_not_proved_better_is_discarded_with_its_figures(house: House) -> None:
    await chat(house, "s", *talk(0, 32))
    taught = await teach_refiller(house, "ann", "ann", SLOW)
    assert (taught.change.action, taught.gain) == ("discard", (0.0, 0.0))
    (change,) = await house.memory_policies.history("ann")
    assert "not proved better: 0.000 to 0.000 more told" in change.why
    assert await house.memory_policies.of("ann") == FIXED
    assert await house.desk.checkpoints.list(HOUSE, None) == []
    assert {line.why for line in await shortened(house, "t")} == {TAKEN_OUT}


async def test_too_little_is_refused_with_its_number_and_nobody_is_learned_from_who_does_not_consent(
    house: House,
) -> None:
    await chat(house, "s", *talk(0, 5))
    with pytest.raises(BadInput, match="shorten 2 passages"):
        await teach_refiller(house, "ann", "ann")
    await chat(house, "t", *talk(5, 40), train=False)
    with pytest.raises(BadInput, match="shorten 2 passages"):
        await teach_refiller(house, "ann", "ann")
    await house.policies.opt_out("ann", "user-s", out=True)
    with pytest.raises(BadInput, match="shorten 0 passages"):
        await teach_refiller(house, "ann", "ann")
    with house.memory_policies.learning("ann"), pytest.raises(Busy, match="learn something already"):
        await teach_refiller(house, "ann", "ann")


async def test_a_refiller_that_is_gone_or_of_another_model_keeps_nobody_from_talking(house: House) -> None:
    path = await refiller(house, "tiny")
    assert any("the model's version" in line.why for line in await shortened(house, "s")), "it writes nonsense"
    await house.desk.checkpoints.delete(HOUSE, path)
    assert {line.why for line in await shortened(house, "t")} == {TAKEN_OUT}
    await refiller(house, "other")
    assert {line.why for line in await shortened(house, "u")} == {TAKEN_OUT}
