from dataclasses import replace
from typing import Any

import pytest

from anubhav.errors import BadInput
from anubhav.serving.asks import Ask, Targets, read_ask
from anubhav.types.models import Model

PROMPT = (5, 6, 7, 8)


def read(stage: Any, **changes: Any) -> Any:
    model = Model("tiny", stage.renderer, "none", "folder", 512, 258)
    return read_ask(replace(Ask(PROMPT), **changes), None, model, stage.renderer)


def test_stops(stage: Any) -> None:
    for stop, tokens, strings in (
        (None, stage.renderer.stop_tokens, ()),
        ((), (), ()),
        ((3, 4), (3, 4), ()),
        (("no", "<|im_end|>"), (1,), ("no",)),
        (("<|im_end|>\n",), (), ("<|im_end|>\n",)),
    ):
        request, found = read(stage, stop=stop)
        assert (request.params.stop_tokens, found) == (tokens, strings)


def test_the_room_bounds_the_length(stage: Any) -> None:
    assert read(stage)[0].params.max_tokens == 508
    assert read(stage, max_tokens=3)[0].params.max_tokens == 3
    assert read(stage, max_tokens=5000)[0].params.max_tokens == 508


def test_targets_name_positions_and_are_told_in_their_layout(stage: Any) -> None:
    dense = Targets((3, 2), (-1, 9, -1, -1, 0, 257))
    sparse = Targets((3, 5), (9, -1, 0), (0, 1, 1, 3), (4, 0, 1))
    assert read(stage, targets=dense)[0].prompt_targets == ((1, 9), (3, 0), (3, 257))
    assert read(stage, targets=sparse)[0].prompt_targets == ((1, 9), (3, 0))
    assert list(dense.fill([-1.5, -2.5, -3.5])) == [0, -1.5, 0, 0, -2.5, -3.5]
    assert list(sparse.fill([-1.5, -2.5])) == [-1.5, 0, -2.5]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_last": 2},
        {"prompt_last": 0, "prompt_logprobs": True},
        {"prompt_last": 4, "prompt_logprobs": True},
        {"targets": Targets((2, 1), (3, 3))},
        {"targets": Targets((3, 1), (-1, -1, -1))},
        {"targets": Targets((3, 0), ())},
        {"targets": Targets((3, 1), (3, 258, 3))},
        {"targets": Targets((3, 1), (3, -2, 3))},
        {"prompt_draws": 1 << 20},
    ],
)
def test_what_cannot_be_answered_is_refused(stage: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read(stage, **changes)
