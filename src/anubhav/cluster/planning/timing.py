"""An estimate of a step's time and cost: a roofline of stated hardware figures, and no measurement of anything.

Computing and reading weights hide one another and the gathering of weights; other collectives are waited for.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter, values_on_rank
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.hardware import Hardware
from anubhav.cluster.planning.layout import stages
from anubhav.cluster.planning.memory import BASE_BYTES, Load, unsharded
from anubhav.cluster.planning.traffic import Collective

_PASSES = 3
"""Forward, the same recomputed, and backward to the inputs; frozen weights have no gradients."""
_ATTENTION_PASSES = 4.5
_ADAPTER_PASSES = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of one optimizer step. An estimate."""

    compute: float
    reading: float
    """Of weights from the card's memory."""
    gathering: float
    waiting: float
    """For collectives that nothing hides."""
    idle: float
    """For a pipeline to fill and drain."""
    step: float
    tokens_per_second: float
    cost_per_step: float
    cost_per_million_tokens: float


def estimate(
    census: Census,
    adapter: Adapter,
    layout: Layout,
    load: Load,
    hardware: Hardware,
    collectives: Iterable[Collective],
) -> Estimate:
    micro = load.micro_batches(layout)
    flops, read = _work(census, adapter, layout, load)
    compute = micro * flops / (hardware.flops * hardware.efficiency)
    reading = micro * read / hardware.bandwidth
    gathering = waiting = 0.0
    for one in collectives:
        seconds = one.calls * hardware.latency + _transfer(one, layout, hardware)
        if one.name == "all-gather" and one.axis in ("fsdp", "efsdp"):
            gathering += seconds
        else:
            waiting += seconds
    busy = max(compute, reading, gathering) + waiting
    idle = busy * (layout.pp - 1) / micro
    step = busy + idle
    tokens = load.batch * load.sequence
    cost = step / 3600 * hardware.price * layout.ranks
    return Estimate(compute, reading, gathering, waiting, idle, step, tokens / step, cost, cost / tokens * 1e6)


def _work(census: Census, adapter: Adapter, layout: Layout, load: Load) -> tuple[float, float]:
    """FLOPs and bytes of weights read, of a micro-batch on a rank of the busiest stage."""
    tokens = load.sequence / layout.sp
    layers = [census.layers[layer] for layer in stages(census, layout)[0]]
    kinds = [(census.kinds[kind], layers.count(kind)) for kind in sorted(set(layers))]
    flops = read = 0.0
    for weights, times in (*kinds, ((*census.after, *(census.before if census.tied else ())), 1)):
        for weight in weights:
            here = unsharded(weight, layout)
            met, rows = float(here), tokens
            adapted = float(values_on_rank(census, adapter, weight, layout))
            if weight.role == "expert" and census.mixture is not None:
                met = weight.count * census.mixture.chosen / census.mixture.experts
                adapted *= layout.ep * census.mixture.chosen / census.mixture.experts
                rows = tokens / layout.tp
            flops += times * 2 * rows * (_PASSES * met + _ADAPTER_PASSES * adapted)
            read += times * _PASSES * BASE_BYTES * here
    heads = census.heads
    # Each token looks back at half the sequence, on average; sequence parallelism has a share of the heads do so.
    width = heads.queries * (heads.query_width + heads.value_width) / (layout.tp if census.heads_sliced else 1)
    flops += _ATTENTION_PASSES * len(layers) * load.sequence * load.sequence * width / layout.sp
    return flops, read


def _transfer(one: Collective, layout: Layout, hardware: Hardware) -> float:
    span = _span(one, layout)
    inside = span <= hardware.node
    if one.name == "send":
        return one.bytes / (hardware.link if inside else hardware.network)
    if one.name == "all-to-all":
        outside = 0.0 if inside else 1 - hardware.node / span
        return one.bytes * (outside / hardware.network + (1 - outside - 1 / one.ranks) / hardware.link)
    # Rings through all cards of a node use all of its network cards.
    rate = hardware.link if inside else min(hardware.link, hardware.network * hardware.node)
    return one.bytes * (2 if one.name == "all-reduce" else 1) * (1 - 1 / one.ranks) / rate


def _span(one: Collective, layout: Layout) -> int:
    """Cards from the first to the last of a group: tensor ranks lie next to each other, then data, then stages."""
    match one.axis:
        case "tp" | "ep":
            return one.ranks
        case "sp":
            return one.ranks * layout.tp
        case "fsdp" | "efsdp":
            return layout.stage_ranks
        case "pp":
            return layout.ranks
