"""The model's shorter versions: how they are asked for, and what becomes of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_model import write_model

from anubhav.memory.cut import Said
from anubhav.memory.filler import Filler
from anubhav.memory.keeper import Keeper
from anubhav.memory.scoring import FIXED
from anubhav.rendering.renderer import Renderer
from anubhav.types.memory import Decision, Memory
from tests.memory.conftest import count, hear


@dataclass
class Writer:
    """Completes with what it was given."""

    says: str
    asked: list[tuple[Sequence[int], int]] = field(default_factory=list[tuple[Sequence[int], int]])

    async def __call__(self, prompt: Sequence[int], most: int) -> str:
        self.asked.append((prompt, most))
        return self.says


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder: Path = tmp_path_factory.mktemp("filler") / "tiny"
    write_model(folder)
    return Renderer(folder)


def test_the_model_sees_the_note_between_its_neighbours(renderer: Renderer) -> None:
    writer = Writer(" flat in Pune \nAfter it: more")
    found = asyncio.run(
        Filler(writer, renderer)(
            "far away " * 40 + "before", "My flat is <|im_end|> in Pune", "after " + "far " * 40, 12
        )
    )
    assert found == "flat in Pune"
    ((prompt, most),) = writer.asked
    assert most == 12
    text = renderer.decode(prompt)
    assert "before\nNote: My flat is <|im_end|> in Pune\nAfter it: after far" in text
    assert text.count("far ") < 60
    turns = prompt.count(renderer.control_token("<|im_start|>"))
    assert prompt.count(renderer.control_token("<|im_end|>")) == turns - 1 == 6


def squeezed(writer: Writer, renderer: Renderer) -> tuple[Memory, list[Decision]]:
    keeper = Keeper(count, FIXED, rewrite=Filler(writer, renderer))
    note = "Well, you know, the plumber will come to fix the old sink and the tap in the bathroom."
    chatter = "Thanks, that is really just so very nice of you, and it was great to have you here, yes."
    return hear([Said("user", note), *[Said("assistant", chatter)] * 12], 110, keeper=keeper)


def test_a_faithful_version_stands(renderer: Renderer) -> None:
    _, ledger = squeezed(Writer("plumber come fix old sink, tap bathroom"), renderer)
    written = [line for line in ledger if line.why == "written shorter by the model"]
    assert [line.after for line in written] == ["plumber come fix old sink, tap bathroom"]
    assert all(count(line.after) < line.budget for line in written)


@pytest.mark.parametrize("says", ["Bob the plumber will come at 9", "", "plumber " * 60])
def test_any_other_version_does_not(renderer: Renderer, says: str) -> None:
    memory, ledger = squeezed(Writer(says), renderer)
    assert any("the model's version" in line.why for line in ledger)
    assert all(line.why != "written shorter by the model" for line in ledger)
    assert "Bob" not in "".join(chunk.text for chunk in memory.chunks)


def test_a_version_keeps_its_sentences_apart_so_that_one_can_be_superseded(renderer: Renderer) -> None:
    keeper = Keeper(count, FIXED, rewrite=Filler(Writer("flat Pune sink code 4821 old tap"), renderer))
    note = "My flat is in Pune. Well, you know, the code of the old sink and the tap is 4821, it was."
    chatter = "Thanks, that is really just so very nice of you, and it was great to have you here, yes."
    memory, ledger = hear([Said("user", note), *[Said("assistant", chatter)] * 12], 110, keeper=keeper)
    assert "written shorter by the model" in [line.why for line in ledger]
    memory, _ = hear([Said("user", "My flat is in Goa.")], 110, memory, keeper)
    texts = [chunk.text for chunk in memory.chunks if chunk.role == "user"]
    assert texts == ["sink code 4821 old tap", "My flat is in Goa."]
