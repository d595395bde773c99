"""Layouts: who sits where, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.families import read_config
from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.layout import Seat, check, nearest
from anubhav.errors import BadInput


@pytest.fixture(scope="module")
def configs(folders: dict[str, Path]) -> dict[str, ModelConfig]:
    return {family: read_config(folder) for family, folder in folders.items()}


def test_ranks_are_numbered_as_transformers_has_them() -> None:
    seats = [Seat.of(rank, Layout(tp=2, fsdp=2, ep=4, pp=2)) for rank in range(8)]
    assert [(one.pp, one.fsdp, one.tp) for one in seats] == [
        (pp, fsdp, tp) for pp in (0, 1) for fsdp in (0, 1) for tp in (0, 1)
    ]
    assert [one.ep for one in seats] == [0, 1, 2, 3] * 2
    halves = [Seat.of(rank, Layout(fsdp=4, ep=2)) for rank in range(4)]
    assert [(one.copy, one.ep) for one in halves] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("family", "layout", "reason", "near"),
    [
        ("dense", Layout(tp=3), "heads are no multiple of tp 3", "fsdp=3"),
        ("dense", Layout(tp=8), "key-value heads are no multiple of tp 8", "tp=4,fsdp=2"),
        ("mixture", Layout(fsdp=3, ep=3), "8 experts are no multiple of ep 3", "fsdp=3"),
        ("mixture", Layout(tp=2, fsdp=2, ep=1, sp=4), "no multiple of 4", "tp=2,sp=2,fsdp=2"),
        ("mixture", Layout(tp=4, ep=2), "must be a multiple of tp 4", "tp=4"),
        ("dense", Layout(fsdp=2, ep=2), "no experts", "fsdp=2"),
        ("mixture", Layout(pp=4), "3 layers are fewer", "pp=2"),
        ("contract", Layout(fsdp=4, sp=4), "6 heads of a rank", "sp=2,fsdp=4"),
        ("dense", Layout(tp=0), "1 or more", None),
    ],
)
def test_what_does_not_divide_is_refused_with_the_nearest_that_does(
    configs: dict[str, ModelConfig], family: str, layout: Layout, reason: str, near: str | None
) -> None:
    with pytest.raises(BadInput, match=reason) as refused:
        check(layout, configs[family])
    assert str(layout) in refused.value.message or layout.tp == 0
    if near:
        assert near in refused.value.hint


def test_a_latent_attention_is_not_split_so_its_heads_need_not_divide(configs: dict[str, ModelConfig]) -> None:
    check(Layout(tp=2), replace(configs["deepseek"], heads=5, kv_heads=5))
    with pytest.raises(BadInput, match="heads"):
        check(Layout(fsdp=2, sp=2), replace(configs["deepseek"], heads=5))


def test_the_nearest_has_as_many_processes_and_fits(configs: dict[str, ModelConfig]) -> None:
    for world in range(1, 17):
        found = nearest(Layout(tp=world), configs["mixture"], [world])
        assert found
        assert found.ranks == world
        check(found, configs["mixture"])
    assert nearest(Layout(tp=4), configs["mixture"], [4]) == Layout(tp=4)
