"""What the ranks tell one another in a step, by arithmetic: each kind of collective, how often, and its bytes.

The bytes are what one rank takes part with: the gathered result, the exchanged or summed input. Calls of expert, data
and tensor parallelism are those of transformers' modules with activation checkpointing; they equal what a trace of
them counts. Sequence and pipeline parallelism are ours, and arithmetic alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter, values_on_rank
from anubhav.cluster.planning.census import Census, Weight
from anubhav.cluster.planning.layout import stages
from anubhav.cluster.planning.memory import BASE_BYTES, GRADIENT_BYTES, LOGITS, Load, is_gathered, unsharded

Axis = Literal["fsdp", "efsdp", "ep", "tp", "sp", "pp"]


@dataclass(frozen=True, slots=True)
class Collective:
    """Of one rank of the busiest stage, in one optimizer step."""

    name: str
    axis: Axis
    ranks: int
    calls: int
    bytes: int
    why: str


def collectives(census: Census, adapter: Adapter, layout: Layout, load: Load) -> tuple[Collective, ...]:
    """Those that happen: an axis of one rank has none."""
    micro = load.micro_batches(layout)
    layers = [census.layers[layer] for layer in stages(census, layout)[0]]
    tokens = -(-load.sequence // layout.sp)
    found = [
        *_gathers(census, layout, layers, micro),
        *_exchanges(census, layout, layers, micro, tokens),
        *_sums(census, adapter, layout, layers, micro, tokens),
        *_sequence(census, layout, layers, micro, tokens),
        *_pipeline(census, layout, micro, tokens),
        *_gradients(census, adapter, layout, layers),
    ]
    return tuple(one for one in found if one.ranks > 1 and one.calls)


def _gathers(census: Census, layout: Layout, layers: list[int], micro: int) -> Iterable[Collective]:
    """Each sharded group of weights before it is computed with, forward and again backward.

    The last group is kept for backward; the embedding is fetched for it too, though nothing is computed there.
    """
    calls = size = expert_calls = expert_size = 0
    for kind in layers:
        weights = census.kinds[kind]
        size += 2 * _size(weights, layout, "dense")
        calls += 2
        if (experts := _size(weights, layout, "expert")) and layout.ep > 1:
            expert_size += 2 * experts
            expert_calls += 2
    ends = [(census.before + census.after, 1)] if census.tied else [(census.before, 2), (census.after, 1)]
    for group, times in ends:
        size += times * _size(group, layout, "dense")
        calls += times
    yield Collective("all-gather", "fsdp", layout.fsdp, calls * micro, size * micro, "frozen weights of a layer")
    efsdp = layout.efsdp if layout.fsdp > 1 else 1
    yield Collective(
        "all-gather", "efsdp", efsdp, expert_calls * micro, expert_size * micro, "frozen experts of a layer"
    )


def _size(weights: Iterable[Weight], layout: Layout, part: Literal["dense", "expert"]) -> int:
    apart = layout.ep > 1
    chosen = [weight for weight in weights if (apart and weight.role == "expert") == (part == "expert")]
    return BASE_BYTES * sum(unsharded(weight, layout) for weight in chosen if is_gathered(weight, layout))


def _exchanges(census: Census, layout: Layout, layers: list[int], micro: int, tokens: int) -> Iterable[Collective]:
    """Tokens to their experts and back: forward, recomputed and backward."""
    if census.mixture is None:
        return
    mixtures = sum(any(weight.role == "expert" for weight in census.kinds[kind]) for kind in layers)
    pairs = -(-tokens // layout.tp) * census.mixture.chosen
    calls = 6 * mixtures * micro
    size = calls * pairs * census.hidden * BASE_BYTES
    yield Collective("all-to-all", "ep", layout.ep, calls, size, "tokens to their experts and back")


def _sums(
    census: Census, adapter: Adapter, layout: Layout, layers: list[int], micro: int, tokens: int
) -> Iterable[Collective]:
    """Tensor parallelism, where the architecture's plan cuts: the output of a block forward and recomputed, and the
    gradient of its input once for each matrix that is cut by its outputs."""
    if layout.tp == 1:
        return
    row = tokens * census.hidden * BASE_BYTES
    calls = size = gathered = gathered_size = 0
    # Routers with biases weigh their experts in fp32, and what comes from experts is as wide.
    outputs = 2 * row if census.router_biases else row
    for kind in layers:
        weights = census.kinds[kind]
        # What comes last in a layer is not recomputed: experts do, where none are shared.
        times = 2 if any(weight.role == "shared" for weight in weights) else 1
        for weight in weights:
            wide, narrow = _sums_of(weight, adapter, times) if not _sent(weight, layout) else (0, 0)
            calls += wide + narrow
            size += wide * row + narrow * tokens * adapter.rank * BASE_BYTES
        if any(_sent(weight, layout) for weight in weights):
            # Tokens are shared out among the tensor ranks before they go to experts: outputs come together forward,
            # gradients of rows and of the router's weights backward.
            gathered += times + 2
            gathered_size += times * outputs + row
    # The embedding's output, forward; the logits, and their gradient.
    calls, size = calls + 2, size + row + LOGITS * census.hidden * BASE_BYTES
    gathered, gathered_size = gathered + 1, gathered_size + LOGITS * census.vocabulary * BASE_BYTES
    yield Collective("all-reduce", "tp", layout.tp, calls * micro, size * micro, "sums of a block's parts")
    yield Collective("all-gather", "tp", layout.tp, gathered * micro, gathered_size * micro, "tokens and logits")


def _sent(weight: Weight, layout: Layout) -> bool:
    """Its tokens are sent to it."""
    return weight.role == "expert" and layout.ep > 1


def _sums_of(weight: Weight, adapter: Adapter, expert_passes: int) -> tuple[int, int]:
    """Sums as wide as the hidden state, and as narrow as an adapter's rank."""
    if weight.sliced is None:
        return 0, 0
    by_inputs = weight.sliced == len(weight.shape) - 1
    if weight.role == "expert":
        # Behind them, and backward before them; the gradient of the router's weights is a narrow one.
        return (expert_passes, 1) if by_inputs else (1, 0)
    times = 2 if by_inputs else 1
    return times, times if adapter.adapts(weight) else 0


def _sequence(census: Census, layout: Layout, layers: list[int], micro: int, tokens: int) -> Iterable[Collective]:
    """Ulysses: queries, keys and values to the ranks of their heads, the output back; forward, recomputed, backward."""
    heads = census.heads
    cut = layout.tp if census.heads_sliced else 1
    width = 2 * heads.queries * heads.query_width + heads.keys * (heads.query_width + heads.value_width)
    if heads.latent:
        width = heads.queries * (2 * heads.query_width + 2 * heads.value_width)
    passes = 3 * len(layers) * micro
    size = passes * tokens * -(-width // cut) * BASE_BYTES
    yield Collective("all-to-all", "sp", layout.sp, 4 * passes, size, "heads of a sequence")


def _pipeline(census: Census, layout: Layout, micro: int, tokens: int) -> Iterable[Collective]:
    """Between two stages: hidden states on, their gradients back."""
    size = 2 * micro * tokens * census.hidden * BASE_BYTES
    yield Collective("send", "pp", layout.pp, 2 * micro, size, "hidden states between stages")


def _gradients(census: Census, adapter: Adapter, layout: Layout, layers: list[int]) -> Iterable[Collective]:
    """Of the adapters, once a step: summed over the ranks that have the same factors."""
    dense = experts = 0
    for weights in (*(census.kinds[kind] for kind in layers), census.before, census.after):
        for weight in weights:
            values = values_on_rank(census, adapter, weight, layout)
            if weight.role == "expert" and layout.ep > 1:
                experts += values
            else:
                dense += values
    why = "gradients of the adapters"
    yield Collective("all-reduce", "fsdp", layout.fsdp, int(dense > 0), dense * GRADIENT_BYTES, why)
    yield Collective("all-reduce", "efsdp", layout.efsdp, int(experts > 0), experts * GRADIENT_BYTES, why)
