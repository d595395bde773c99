"""A prompt that was read is not read again, and what stands behind it is read as if it had been."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import foreign_families
import pytest
import test_families
import torch
from test_sampling import prompt

from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.opening import open_model
from anubhav.backends.torch.reading import Reading
from anubhav.backends.torch.reading_kept import Prompts

CPU = torch.device("cpu")
ASKED, OTHER, LONG = prompt(1, 40), prompt(2, 30), prompt(6, 150)


def read(reading: Reading, *items: tuple[tuple[int, ...], tuple[int, ...]]) -> list[list[float]]:
    steps = reading.read(items)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return [array.tolist() for array in done.value]


@pytest.fixture(scope="module", params=[*test_families.MAKERS, *(f"foreign {one}" for one in foreign_families.MAKERS)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("family")
    name = request.param.removeprefix("foreign ")
    (foreign_families.write_family if name != request.param else test_families.write)(name, found)
    return found


def forgetful(model: Decoder, folder: Path) -> Reading:
    reading = Reading(model, folder)
    reading._prompts = Prompts(0)
    return reading


def test_behind_a_kept_prompt_the_reading_is_the_same(folder: Path) -> None:
    model = open_model(folder, device=CPU, dtype=torch.float32)
    items = [(ASKED, prompt(3, 5)), (ASKED, ()), (OTHER, prompt(4, 9)), ((), ASKED), (ASKED[:20], OTHER), (LONG, LONG)]
    fresh, kept = forgetful(model, folder), Reading(model, folder)
    read(kept, (ASKED, prompt(5, 7)), (OTHER, prompt(5, 7)))
    expected = [read(fresh, one)[0] for one in items]
    for one, said in zip(items, expected, strict=True):
        assert read(kept, one)[0] == pytest.approx(said, abs=1e-4)
    for one, said in zip(read(kept, *items), expected, strict=True):
        assert one == pytest.approx(said, abs=1e-4)


def test_only_what_is_new_is_computed(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, counted = Reading(open_model(tiny_llama, device=CPU, dtype=torch.float32), tiny_llama), list[int]()
    read(reading, (OTHER, prompt(5, 7)))
    compute = reading._shallow.hidden

    def count(tokens_T: torch.Tensor, *rest: Any) -> torch.Tensor:
        counted.append(len(tokens_T))
        return compute(tokens_T, *rest)

    monkeypatch.setattr(reading._shallow, "hidden", count)
    read(reading, (ASKED, prompt(3, 5)))
    read(reading, (ASKED, prompt(4, 6)))
    read(reading, (ASKED, prompt(4, 6)), (OTHER, prompt(3, 5)))
    read(reading, (ASKED, ()))
    assert counted == [45, 6, 11, 1]


def test_what_was_not_asked_for_longest_goes_first() -> None:
    prompts, states = Prompts(10), torch.zeros(1)
    for each in ((1, 2, 3, 4), (5, 6, 7, 8)):
        prompts.keep(each, {0: (states, states)})
    assert prompts.find((1, 2, 3, 4)) and prompts.tokens == 8
    prompts.keep((9, 10, 11), {0: (states, states)})
    assert prompts.find((1, 2, 3, 4)) and prompts.find((5, 6, 7, 8)) is None and prompts.tokens == 7
    prompts.keep(tuple(range(11)), {0: (states, states)})
    assert prompts.tokens == 0
