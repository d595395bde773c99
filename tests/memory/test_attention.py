"""Attention to chunks, by a reader whose last tokens look at where they stood before."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_model import write_model

from anubhav.backends.fake.reading import FakeReader
from anubhav.memory.attention import HEAD, PROBE, attention
from anubhav.rendering.renderer import Renderer
from anubhav.types.memory import Chunk


class Watched(FakeReader):
    def __init__(self) -> None:
        super().__init__(258)
        self.read: list[tuple[int, ...]] = []

    async def attend(
        self, prompt: Sequence[int], spans: Sequence[tuple[int, int]], last: int, *, tenant: str = ""
    ) -> list[float]:
        self.read.append(tuple(prompt))
        return await super().attend(prompt, spans, last, tenant=tenant)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder: Path = tmp_path_factory.mktemp("attention") / "tiny"
    write_model(folder)
    return Renderer(folder)


def chunks(*texts: str) -> list[Chunk]:
    return [Chunk(f"ch_{turn}", "user", text, 20, turn, 0.0) for turn, text in enumerate(texts)]


async def test_chunks_that_the_latest_words_look_at_stand_out(renderer: Renderer) -> None:
    reader = Watched()
    latest = "4444 8888 " * 7
    found = await attention(reader, renderer, chunks("JJJJJJJJJJJJ", "484848484848", "KKKKKKKKKKKK", latest))
    assert set(found) == {"ch_0", "ch_1", "ch_2"}
    assert found["ch_1"] > 0.2 > 0 > found["ch_0"] == pytest.approx(found["ch_2"])
    (prompt,) = reader.read
    text = renderer.decode(prompt)
    assert text.startswith(f"{HEAD}user: JJJJ") and text.endswith(PROBE)


async def test_length_alone_is_worth_nothing(renderer: Renderer) -> None:
    texts = ["user: user: " * times for times in (1, 9)]
    found = await attention(FakeReader(258), renderer, chunks(*texts, "e" * 80))
    assert found["ch_0"] == pytest.approx(found["ch_1"], abs=0.1)


async def test_the_latest_words_alone_are_not_looked_at(renderer: Renderer) -> None:
    assert await attention(FakeReader(258), renderer, []) == {}
    assert await attention(FakeReader(258), renderer, chunks("hello")) == {}


async def test_what_is_read_is_bounded(renderer: Renderer) -> None:
    costs: list[int] = []
    for many in (200, 2000):
        reader = Watched()
        found = await attention(reader, renderer, chunks(*(f"number {one:06d}" for one in range(many)), "x" * 5000))
        assert all(-3 <= value <= 3 for value in found.values())
        assert f"ch_{many - 1}" in found and "ch_0" not in found
        assert max(map(len, reader.read)) < 512
        costs.append(sum(map(len, reader.read)))
    assert costs[0] == costs[1] < 3000
