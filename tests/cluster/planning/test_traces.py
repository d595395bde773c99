"""Activations and collectives by arithmetic against a traced pass of the real modules."""

from collections import Counter
from typing import Any

import pytest
from tiny_configs import DENSE, LATENT, MIXTURE, TIED

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.memory import Load, rank_bytes
from anubhav.cluster.planning.models import MODELS
from anubhav.cluster.planning.probe.process import Probe
from anubhav.cluster.planning.traffic import collectives


def counted(census: Census, adapter: Adapter, layout: Layout, tokens: int) -> tuple[Counter[str], Counter[str]]:
    """Calls and bytes of one micro-batch; the sum of gradients comes after it."""
    calls, sizes = Counter[str](), Counter[str]()
    for one in collectives(census, adapter, layout, Load(tokens, batch=layout.batches)):
        if one.why != "gradients of the adapters":
            calls[one.name] += one.calls
            sizes[one.name] += one.bytes
    return calls, sizes


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        (DENSE, Layout(tp=2, fsdp=2)),
        (TIED, Layout(fsdp=4)),
        (MIXTURE, Layout(tp=2, fsdp=2, ep=2)),
        (MIXTURE, Layout(tp=2, fsdp=2)),
        (LATENT, Layout(tp=2, fsdp=4, ep=4)),
    ],
    ids=["dense", "tied", "mixture", "mixture without ep", "latent"],
)
def test_collectives_are_those_that_are_traced(probe: Probe, config: Any, layout: Layout) -> None:
    census, adapter, tokens = probe.census(config), Adapter(4), 512
    traced = probe.trace(config, census, adapter, layout, tokens)
    calls, sizes = counted(census, adapter, layout, tokens)
    assert calls == Counter(traced.calls)
    for name, size in traced.sizes.items():
        assert sizes[name] == pytest.approx(size, rel=0.02), name


@pytest.mark.parametrize(
    ("name", "layout", "tokens"),
    [
        ("kimi-k2", Layout(fsdp=64, ep=64), 4096),
        ("qwen3-30b-a3b", Layout(fsdp=8, ep=8), 8192),
    ],
    ids=str,
)
def test_activations_are_near_those_that_are_traced(probe: Probe, name: str, layout: Layout, tokens: int) -> None:
    config = MODELS[name]
    census = probe.census(config)
    traced = probe.trace(config, census, Adapter(32), layout, tokens)
    found = rank_bytes(census, Adapter(32), layout, Load(tokens, batch=layout.batches))[0]
    assert found.activations + found.gathered == pytest.approx(traced.peak, rel=0.15)
    assert counted(census, Adapter(32), layout, tokens) == (Counter(traced.calls), Counter(traced.sizes))


def test_a_pass_is_traced_by_its_last_layers(probe: Probe) -> None:
    """Two depths and the rest from their difference, against every layer."""
    deep = {**MODELS["qwen3-30b-a3b"], "num_hidden_layers": 40}
    census = probe.census(deep)
    short = probe.trace(deep, census, Adapter(8), Layout(fsdp=8, ep=8), 8192)
    config = {**deep, "num_hidden_layers": 41}
    longer = probe.trace(config, probe.census(config), Adapter(8), Layout(fsdp=8, ep=8), 8192)
    assert longer.calls["all-to-all"] == short.calls["all-to-all"] + 6
    # One more layer is one more checkpoint of its input: tokens × hidden, in bf16.
    assert longer.peak - short.peak == pytest.approx(8192 * 2048 * 2, rel=0.01)
