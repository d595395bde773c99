"""Leave-one-out: what an open question needs, told by a reader that finds repeated letters easy."""

from collections.abc import Sequence

import pytest
from fake_model import write_model

from anubhav.backends.fake.reading import FakeReader
from anubhav.memory.need import CANDIDATES, need
from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Role
from anubhav.types.memory import Chunk


class Parrot(FakeReader):
    """The table cannot look back; this one is surprised at three letters only where they are new."""

    def __init__(self) -> None:
        super().__init__(258)
        self.read_tokens = 0

    async def surprise(
        self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = ""
    ) -> list[list[float]]:
        self.read_tokens += sum(len(prompt) + len(answer) for prompt, answer in items)
        return [_nats((*prompt, *answer), len(prompt)) for prompt, answer in items]


def _nats(tokens: Sequence[int], at: int) -> list[float]:
    seen = {tuple(tokens[i - 2 : i + 1]) for i in range(2, at)}
    return [0.1 if tuple(tokens[i - 2 : i + 1]) in seen else 1.0 for i in range(at, len(tokens))]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = tmp_path_factory.mktemp("need") / "tiny"
    write_model(folder)
    return Renderer(folder)


def chunks(*texts: str) -> list[Chunk]:
    """One a turn; questions are open. "bot: " begins what the assistant said."""
    made: list[Chunk] = []
    for turn, text in enumerate(texts):
        role: Role = "assistant" if text.startswith("bot: ") else "user"
        made.append(Chunk(f"ch_{turn}", role, text.removeprefix("bot: "), 20, turn, 0.0, open=text.endswith("?")))
    return made


async def test_what_a_question_is_about_is_needed(renderer: Renderer) -> None:
    said = chunks("The flight to Lisbon leaves Terminal 4.", "bot: Noted.", "I like tea.", "When is the Lisbon flight?")
    found = await need(Parrot(), renderer, said)
    assert set(found) == {"ch_0"} and found["ch_0"] > 0.5


async def test_what_is_said_twice_is_not_needed_twice(renderer: Renderer) -> None:
    said = chunks("Flight: Lisbon.", "bot: Yes.", "Flight: Lisbon.", "bot: Yes.", "When is the Lisbon flight?")
    found = await need(Parrot(), renderer, said)
    assert found == {"ch_0": pytest.approx(0.0), "ch_2": pytest.approx(0.0)}


async def test_nothing_is_read_where_nothing_is_open(renderer: Renderer) -> None:
    reader = Parrot()
    assert await need(reader, renderer, chunks("The flight to Lisbon leaves.", "bot: Lisbon.")) == {}
    assert await need(reader, renderer, chunks("Where is Lisbon?")) == {}
    assert reader.read_tokens == 0


async def test_each_of_two_questions_has_what_it_needs(renderer: Renderer) -> None:
    said = chunks(
        "My violin is at Maria's.", "The Lisbon flight leaves.", "Whose is the violin?", "Which Lisbon flight?"
    )
    found = await need(Parrot(), renderer, said)
    assert set(found) == {"ch_0", "ch_1"} and min(found.values()) > 0.2


async def test_a_long_memory_costs_no_more_than_a_short_one(renderer: Renderer) -> None:
    costs: list[int] = []
    for many in (20, 400):
        reader = Parrot()
        texts = [f"The Lisbon flight has number {number:04d} today and lunch is served." for number in range(many)]
        found = await need(
            reader, renderer, chunks(*texts, "Which Lisbon flight is it?", "And which number has lunch?")
        )
        assert len(found) == CANDIDATES and all(-3 <= value <= 3 for value in found.values())
        costs.append(reader.read_tokens)
    assert costs[1] <= 1.1 * costs[0] and costs[1] < 10_000
