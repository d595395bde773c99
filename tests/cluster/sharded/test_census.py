"""No rank holds the base: what is split stays split, and FSDP gathers a layer at a time.

At rest: of each weight that the layout splits a rank has its share of cells, no more. During a pass: the buffers that
FSDP gathers into never hold more than two layers, the unembedding with the last norm, and the embedding.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from lessons import ADA, SPEC, go, lesson
from tiny import Gangs

from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.census import Census
from anubhav.types.training import Pass


async def weigh(gangs: Gangs, family: str, layout: Layout) -> list[Census]:
    trainer = gangs(family, layout)
    await trainer.create(ADA, SPEC)
    for backward in (True, False):
        await go(trainer, Pass(ADA, lesson(1), "cross_entropy", backward=backward))
    return await trainer.census()


def cells(weights: Mapping[str, tuple[int, int]], part: str = "") -> int:
    return sum(whole for name, (_, whole) in weights.items() if part in name)


@pytest.mark.parametrize(
    ("family", "layout"),
    [("dense", Layout(tp=2, fsdp=2)), ("mixture", Layout(fsdp=4, ep=4)), ("deepseek", Layout(tp=2, fsdp=2, ep=4))],
    ids=str,
)
async def test_a_rank_has_its_share_and_gathers_a_layer_at_a_time(gangs: Gangs, family: str, layout: Layout) -> None:
    ranks = await weigh(gangs, family, layout)
    for name, (_, whole) in ranks[0].rest.items():
        shares = [rank.rest[name][0] for rank in ranks]
        split = layout.ep if ".experts." in name and layout.ep > 1 else layout.fsdp
        assert max(shares) <= math.ceil(whole / split)
        if ".experts." in name:
            assert shares == [whole // layout.ranks] * layout.ranks
    for rank in ranks:
        weights = {name: sizes for name, sizes in rank.rest.items() if ".experts." not in name}
        layers = max(cells(weights, f"layers.{number}.") for number in range(4))
        assert 0 < rank.gathered <= 2 * layers + cells(weights, "embed") + cells(weights, "lm_head") + 64
        assert rank.gathered < 0.8 * cells(rank.rest)


async def test_tensor_ranks_gather_nothing(gangs: Gangs) -> None:
    for rank in await weigh(gangs, "dense", Layout(tp=2)):
        assert rank.gathered == 0
        for name, (here, whole) in rank.rest.items():
            assert here == (whole if "norm" in name else whole // 2)


async def test_stages_hold_their_own_layers_alone(gangs: Gangs, folders: dict[str, Path]) -> None:
    first, last = await weigh(gangs, "dense", Layout(pp=2))
    assert {name.split(".")[2] for name in first.rest if ".layers." in name} == {"0", "1"}
    assert {name.split(".")[2] for name in last.rest if ".layers." in name} == {"2", "3"}
    assert not set(first.rest) & set(last.rest)
