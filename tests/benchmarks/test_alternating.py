"""Taking turns, the batches, and what a token costs."""

import json
from pathlib import Path

import pytest

from benchmarks.stand import batches
from benchmarks.stand.model import Shape, decoding_bytes, read_shape, training_operations
from benchmarks.stand.rounds import take_turns

SMOLLM2 = Shape(layers=30, hidden=576, inner=1536, heads=9, kv_heads=3, head_dim=64, vocabulary=49152)


def test_turns_alternate_who_is_first_and_the_first_round_does_not_count() -> None:
    seen: list[str] = []

    def measure(name: str, number: int) -> float:
        seen.append(f"{name}{number}")
        return float(number)

    names = ("a", "b")
    found = take_turns(3, {name: lambda number, name=name: measure(name, number) for name in names})
    assert found == {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]}
    assert seen == ["a0", "b0", "a1", "b1", "b2", "a2", "a3", "b3"]


def test_everybody_gets_the_same_batch_and_each_round_another() -> None:
    assert batches.prompts(2, 5, 7) == batches.prompts(2, 5, 7)
    assert batches.prompts(2, 5, 7) != batches.prompts(2, 5, 8)
    assert [len(each) for each in batches.documents([3, 9], 1)] == [4, 10]


def test_a_group_shares_its_prompt_and_its_advantages_cancel() -> None:
    made = batches.groups(2, 4, 6, 3, 1)
    assert [len(group) for group in made] == [4, 4]
    assert made[0][0].prompt != made[1][0].prompt
    for group in made:
        assert all(each.prompt == group[0].prompt for each in group)
        assert sum(each.advantage for each in group) == pytest.approx(0)
        assert len({tuple(each.reply) for each in group}) == 4
        assert all(len(each.reply) == len(each.logprobs) == 3 for each in group)


def test_the_operations_of_a_token_are_those_counted_by_hand() -> None:
    assert SMOLLM2.frozen == 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) + 576 * 49152
    assert SMOLLM2.lora(32) == 30 * 32 * (2 * 1152 + 2 * 768 + 3 * 2112)
    assert training_operations(SMOLLM2, [256] * 8) / 2048 == pytest.approx(628e6, rel=2e-3)
    one, four = training_operations(SMOLLM2, [128] * 2), training_operations(SMOLLM2, [256])
    assert four > one


def test_a_decoded_token_reads_every_weight_once() -> None:
    assert decoding_bytes(SMOLLM2, "bfloat16") * 2 == decoding_bytes(SMOLLM2, "float32") == 4 * SMOLLM2.frozen


def test_the_shape_is_read_from_the_folder(tmp_path: Path) -> None:
    config = {
        "num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
        "num_key_value_heads": 3, "vocab_size": 49152,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_shape(tmp_path) == SMOLLM2
