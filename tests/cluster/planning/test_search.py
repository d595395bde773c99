"""Layouts by arithmetic: which there are, which fit, and what is said where none does."""

from dataclasses import replace

import pytest
from tiny_configs import DENSE, LATENT

from anubhav.cluster.layout import Layout, parse_layout
from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.hardware import GB, HARDWARE, find_hardware
from anubhav.cluster.planning.layout import fault, stages
from anubhav.cluster.planning.memory import Load
from anubhav.cluster.planning.models import MODELS
from anubhav.cluster.planning.probe.process import Probe
from anubhav.cluster.planning.search import layouts, more_cards, nearest, search, shorter, weigh
from anubhav.errors import BadInput

H100 = HARDWARE["h100"]


@pytest.fixture(scope="module")
def kimi(probe: Probe) -> Census:
    return probe.census(MODELS["kimi-k2"])


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        (Layout(fsdp=8, ep=3), "ep=3 does not divide the tp × fsdp = 8 ranks"),
        (Layout(fsdp=5, ep=5), "ep=5 does not divide the 384 experts"),
        (Layout(tp=4, fsdp=4, ep=2), "ep=2 is not a multiple of tp=4"),
        (Layout(fsdp=6, sp=4), "sp=4 does not divide fsdp=6"),
        (Layout(fsdp=6, sp=6), "sp=6 does not divide the 64 heads of a rank"),
        (Layout(tp=7), "tp=7 does not divide the"),
        (Layout(pp=62), "pp=62 is more than the 61 layers"),
    ],
    ids=str,
)
def test_what_does_not_divide_is_named(kimi: Census, layout: Layout, says: str) -> None:
    assert says in (fault(kimi, layout) or "")


def test_heads_and_experts_that_are_not_there(probe: Probe) -> None:
    dense = probe.census(DENSE)
    assert "does not divide the 8 query and 4 key heads" in (fault(dense, Layout(tp=8)) or "")
    assert "has no experts" in (fault(dense, Layout(fsdp=2, ep=2)) or "")


def test_every_layout_makes_all_ranks_and_divides(kimi: Census) -> None:
    found = list(layouts(kimi, 64, H100))
    assert len(found) == len(set(found)) > 100
    assert all(one.ranks == 64 and fault(kimi, one) is None for one in found)
    assert all(one.tp * one.sp <= 8 for one in found)


def test_stages_are_those_of_the_trainer(kimi: Census) -> None:
    assert [len(stage) for stage in stages(kimi, Layout(pp=4))] == [15, 15, 15, 16]
    assert [layer for stage in stages(kimi, Layout(pp=7)) for layer in stage] == list(range(61))


def test_the_fastest_comes_first_and_all_fit(kimi: Census) -> None:
    found = search(kimi, Adapter(32), 64, Load(), H100)
    steps = [one.estimate.step for one in found.fitting]
    assert steps == sorted(steps)
    assert 0 < len(found.fitting) < found.tried
    assert all(one.fullest.total <= 68 * GB for one in found.fitting)
    assert found.closest and found.closest.fullest.total == min(one.fullest.total for one in found.fitting)


def test_kimi_k2_wants_more_cards_or_less_text(kimi: Census) -> None:
    assert not search(kimi, Adapter(32), 32, Load(), H100).fitting
    more = more_cards(kimi, Adapter(32), 32, Load(), H100)
    assert more and more.layout.ranks == 64
    assert shorter(kimi, Adapter(32), 64, Load(sequence=1 << 20), H100)
    assert shorter(kimi, Adapter(32), 8, Load(), H100) is None


def test_more_of_anything_takes_more_memory(kimi: Census) -> None:
    def total(adapter: Adapter = Adapter(32), layout: Layout = Layout(fsdp=64, ep=64), load: Load = Load()) -> int:
        return weigh(kimi, adapter, layout, load, H100).fullest.total

    base = total()
    assert total(Adapter(64)) > base
    assert total(load=Load(sequence=8192)) > base
    assert total(load=Load(cached=4)) > base
    assert total(layout=Layout(fsdp=32, ep=32)) > base
    assert total(layout=Layout(fsdp=64, ep=64, sp=8)) < base


def test_better_hardware_is_no_slower_and_prices_are_only_prices(kimi: Census) -> None:
    layout = Layout(fsdp=64, ep=64)
    base = weigh(kimi, Adapter(32), layout, Load(), H100).estimate
    for figure in ("flops", "bandwidth", "link", "network"):
        faster = replace(H100, **{figure: 2 * getattr(H100, figure)})
        assert weigh(kimi, Adapter(32), layout, Load(), faster).estimate.step <= base.step
    dear = weigh(kimi, Adapter(32), layout, Load(), replace(H100, price=6.0)).estimate
    assert (dear.step, dear.cost_per_step) == (base.step, pytest.approx(2 * base.cost_per_step))


def test_a_step_is_no_faster_than_its_arithmetic(kimi: Census) -> None:
    """Three passes over what a token is multiplied with: 6 FLOPs a parameter and token, at the stated efficiency."""
    found = weigh(kimi, Adapter(32), Layout(fsdp=64, ep=64), Load(), H100).estimate
    flops = 6 * kimi.multiplied * 64 * 4096
    assert found.compute >= flops / (64 * H100.flops * H100.efficiency)
    assert found.compute <= 2 * flops / (64 * H100.flops * H100.efficiency)


def test_a_pipeline_idles_less_the_more_it_is_given(kimi: Census) -> None:
    layout = Layout(pp=4, fsdp=16, ep=16)
    few = weigh(kimi, Adapter(32), layout, Load(batch=16), H100).estimate
    many = weigh(kimi, Adapter(32), layout, Load(batch=256), H100).estimate
    assert few.idle / few.step == pytest.approx(3 / 4)
    assert many.idle / many.step < 0.2


def test_layouts_are_read_and_nearest_is_near(probe: Probe) -> None:
    assert parse_layout("tp=2, fsdp=8,ep=16") == Layout(tp=2, fsdp=8, ep=16)
    for text in ("tp", "tp=0", "dp=2", "tp=-1", "tp=two", ""):
        with pytest.raises(BadInput, match="no part of a layout"):
            parse_layout(text)
    census = probe.census(LATENT)
    options = search(census, Adapter(4), 8, Load(sequence=64), H100).fitting
    near = nearest(Layout(tp=2, fsdp=4, ep=3), options)
    assert near and near.layout.tp == 2


def test_hardware_without_figures_is_refused() -> None:
    with pytest.raises(BadInput, match="no figures of 'abacus'"):
        find_hardware("abacus")
