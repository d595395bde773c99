"""Predicted bytes against those of sharded models: the same tensors, counted and instantiated."""

from typing import Any, get_args

import pytest
from tiny_configs import DENSE, LATENT, MIXTURE, ODD, TIED

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter, ExpertLayout
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.hardware import HARDWARE
from anubhav.cluster.planning.memory import Load, rank_bytes
from anubhav.cluster.planning.models import MODELS
from anubhav.cluster.planning.probe.process import Probe
from anubhav.cluster.planning.search import layouts

MODELS_HERE = {"dense": DENSE, "mixture": MIXTURE, "latent": LATENT, "tied": TIED}
KINDS: tuple[ExpertLayout, ...] = get_args(ExpertLayout)


def holds(probe: Probe, config: Any, census: Census, adapter: Adapter, layout: Layout) -> None:
    counted = rank_bytes(census, adapter, layout, Load(sequence=64))
    measured = probe.measure(config, census, adapter, layout)
    for stage, (mine, theirs) in enumerate(zip(counted, measured, strict=True)):
        for part in ("weights", "adapters", "optimizer", "gradients"):
            found, said = getattr(theirs, part), getattr(mine, part)
            assert said == found, f"{layout}, {adapter.experts}, stage {stage}: {part} {said} for {found}"


@pytest.mark.parametrize("name", MODELS_HERE)
def test_every_layout_of_four_ranks(probe: Probe, name: str) -> None:
    """Sequence parallelism shares out no tensors, so it is left out."""
    config = MODELS_HERE[name]
    census = probe.census(config)
    tried = [one for one in layouts(census, 4, HARDWARE["h100"]) if one.sp == 1]
    assert len(tried) >= 2
    for number, layout in enumerate(tried):
        holds(probe, config, census, Adapter(4, KINDS[number % 4]), layout)


@pytest.mark.parametrize("experts", KINDS)
@pytest.mark.parametrize(
    "layout", [Layout(tp=2, fsdp=4, ep=4, pp=2), Layout(tp=2, fsdp=2), Layout(fsdp=8, ep=2)], ids=str
)
def test_every_kind_of_adapter(probe: Probe, layout: Layout, experts: ExpertLayout) -> None:
    census = probe.census(LATENT)
    holds(probe, LATENT, census, Adapter(4, experts, "all-linear"), layout)


@pytest.mark.parametrize(
    "layout", [Layout(fsdp=5), Layout(fsdp=16), Layout(tp=2, fsdp=7), Layout(pp=2, fsdp=3)], ids=str
)
def test_shards_that_do_not_come_out_even(probe: Probe, layout: Layout) -> None:
    census = probe.census(ODD)
    holds(probe, ODD, census, Adapter(3), layout)


def test_kimi_k2_on_64_ranks(probe: Probe) -> None:
    config = MODELS["kimi-k2"]
    census = probe.census(config)
    layout = Layout(fsdp=64, ep=64)
    holds(probe, config, census, Adapter(32), layout)
    assert rank_bytes(census, Adapter(32), layout, Load())[0].weights == pytest.approx(32.08e9, rel=1e-3)


def test_what_a_cache_takes(probe: Probe) -> None:
    census = probe.census(MODELS["kimi-k2"])
    cache = rank_bytes(census, Adapter(), Layout(fsdp=64, ep=64), Load(sequence=4096, cached=3))[0].cache
    assert cache == 3 * 4096 * 61 * (512 + 64) * 2  # a latent and its positions, in bf16
    heads = probe.census(MODELS["qwen3-8b"])
    assert rank_bytes(heads, Adapter(), Layout(tp=4), Load(1000))[0].cache == 1000 * 36 * 2 * (8 // 4) * 128 * 2
