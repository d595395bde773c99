"""Bytes on a rank, by arithmetic: what lies there always, and what a micro-batch adds at its peak.

Weights, adapters, optimizer and gradients are counted to the byte, as transformers and FSDP2 shard them; what they
give is checked against the sharded model (`probe.measuring`). Activations are an approximation: the factors below are
bytes per token and unit of width, fitted to traces of the real modules (`probe.trace`), which they meet within 15 %.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter, unstored_values, values_on_rank
from anubhav.cluster.planning.census import Census, Weight
from anubhav.cluster.planning.layout import stages

BASE_BYTES = 2
"""Of a frozen weight, in bf16; of a checkpointed activation and of a value in the cache as well."""
ADAPTER_BYTES = 4
"""Of a value of an adapter, which is fp32 whatever the base is; a layer computes with a bf16 copy made on the spot."""
OPTIMIZER_BYTES = 8
"""AdamW's two moments of it."""
GRADIENT_BYTES = 4
FULL_BYTES = 18
"""Of a parameter that is trained as large models are: bf16 weight, fp32 gradient, fp32 master and two moments."""
LOGITS = 512
"""Positions whose logits are in memory at the same time; the loss is taken in chunks of as many."""
_LOGIT_BYTES = 16
_LAYERS_GATHERED = 2
"""The one that is computed and the one that is fetched meanwhile."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a trainer is given in one optimizer step."""

    sequence: int = 4096
    """Tokens of a sequence; one is a micro-batch."""
    batch: int = 64
    """Sequences of a step, over all ranks."""
    cached: int = 1
    """Sequences whose key-value cache each data rank holds beside training, for sampling where it trains."""

    def micro_batches(self, layout: Layout) -> int:
        return -(-self.batch // layout.batches)


@dataclass(frozen=True, slots=True)
class RankBytes:
    """Of the first rank of a stage, which has the largest shards."""

    weights: int
    adapters: int
    optimizer: int
    gradients: int
    gathered: int
    """Weights of a layer that are whole for as long as it is computed."""
    activations: int
    cache: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def rank_bytes(census: Census, adapter: Adapter, layout: Layout, load: Load) -> tuple[RankBytes, ...]:
    """Of each pipeline stage."""
    return tuple(
        _stage(census, adapter, layout, load, stage, layers) for stage, layers in enumerate(stages(census, layout))
    )


def _stage(census: Census, adapter: Adapter, layout: Layout, load: Load, stage: int, layers: range) -> RankBytes:
    kinds = [census.layers[layer] for layer in layers]
    ends = [*(census.before if stage == 0 else ()), *(census.after if stage == layout.pp - 1 else ())]
    if census.tied and stage == layout.pp - 1 and stage > 0:
        ends += census.before
    parts = [*((ends, 1),), *((census.kinds[kind], kinds.count(kind)) for kind in sorted(set(kinds)))]
    weights = sum(BASE_BYTES * shard_of(weight, layout) * times for part, times in parts for weight in part)
    values = sum(values_on_rank(census, adapter, weight, layout) * times for part, times in parts for weight in part)
    if stage == layout.pp - 1:
        values += unstored_values(census, adapter)
    tokens = -(-load.sequence // layout.sp)
    kept = len(kinds) * tokens * census.hidden * BASE_BYTES * min(layout.pp - stage, load.micro_batches(layout))
    peaks = [
        (kept + _working_bytes(census, census.kinds[kind], layout) * tokens, _gathered(census.kinds[kind], layout))
        for kind in set(kinds)
    ]
    peaks = [(activations, _LAYERS_GATHERED * gathered) for activations, gathered in peaks]
    if stage == layout.pp - 1:
        head = max(25 * census.hidden * tokens, LOGITS * _LOGIT_BYTES * census.vocabulary)
        peaks.append((kept + head, _gathered(census.after if not census.tied else census.before, layout)))
    activations, gathered = max(peaks, key=sum)
    return RankBytes(
        weights=weights,
        adapters=ADAPTER_BYTES * values,
        optimizer=OPTIMIZER_BYTES * values,
        gradients=GRADIENT_BYTES * values,
        gathered=gathered,
        activations=activations,
        cache=load.cached * load.sequence * len(kinds) * cached_per_token(census, layout),
    )


def shard_of(weight: Weight, layout: Layout) -> int:
    """Values on the first rank: cut by expert or tensor parallelism, then along its first axis over data."""
    shape = list(weight.shape)
    data = layout.fsdp
    if weight.role == "expert" and layout.ep > 1:
        shape[0] = -(-shape[0] // layout.ep)
        data = layout.efsdp if layout.fsdp > 1 else 1
    elif weight.sliced is not None:
        shape[weight.sliced] = -(-shape[weight.sliced] // layout.tp)
    count = -(-shape[0] // data)
    for size in shape[1:]:
        count *= size
    return count


def _gathered(weights: Iterable[Weight], layout: Layout) -> int:
    """Bytes of the weights that are whole while they are computed with; what is not sharded over data is so anyway."""
    return BASE_BYTES * sum(unsharded(weight, layout) for weight in weights if is_gathered(weight, layout))


def is_gathered(weight: Weight, layout: Layout) -> bool:
    ranks = layout.efsdp if weight.role == "expert" and layout.ep > 1 else layout.fsdp
    return ranks > 1 and layout.fsdp > 1


def unsharded(weight: Weight, layout: Layout) -> int:
    """Values that a rank computes with: cut by expert or tensor parallelism, whole over data."""
    if weight.role == "expert" and layout.ep > 1:
        return weight.count // layout.ep
    return -(-weight.count // layout.tp) if weight.sliced is not None else weight.count


def cached_per_token(census: Census, layout: Layout) -> int:
    """Bytes of a layer's cache. A latent is kept whole by each rank of a tensor group; heads are shared out."""
    heads = census.heads
    share = 1 if heads.latent or not census.heads_sliced else layout.tp
    return BASE_BYTES * -(-heads.cached // share)


def _working_bytes(census: Census, weights: tuple[Weight, ...], layout: Layout) -> int:
    """Bytes a token of the backward pass of one layer, which recomputes it: at its block or at its first norm."""
    heads, hidden = census.heads, census.hidden
    cut = layout.tp if census.heads_sliced else 1
    queries, keys = heads.queries * heads.query_width / cut, heads.keys * heads.query_width / cut
    values = heads.keys * heads.value_width / cut
    attention = 10.35 * queries if heads.latent else 8 * queries + 6 * (keys + values)
    return round(attention + max(15 * hidden + _block(census, weights, layout), 32 * hidden))


def _block(census: Census, weights: tuple[Weight, ...], layout: Layout) -> float:
    mixture = census.mixture
    wide = max((weight.shape[0] for weight in weights if weight.role == "dense" and weight.linear), default=0)
    if mixture is None or not any(weight.role == "expert" for weight in weights):
        return (12 if layout.tp == 1 else 16) * wide / layout.tp
    shared = sum(weight.shape[0] for weight in weights if weight.role == "shared" and weight.shape[0] != census.hidden)
    pairs = mixture.chosen * (11.5 * census.hidden + 12 * mixture.width)
    spread = layout.tp if layout.ep > 1 else 1
    return pairs / spread + (8 * census.hidden + 1.5 * shared / layout.tp if shared else 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Cards that hold the state of training, LoRA against every parameter. Arithmetic; activations are left out."""

    lora_bytes: int
    full_bytes: int
    lora_cards: int
    full_cards: int

    @property
    def share(self) -> float:
        return self.lora_bytes / self.full_bytes


def compare(parameters: int, adapted: int, usable: int) -> Comparison:
    """`usable` is the bytes of a card that the state may fill."""
    lora = parameters * BASE_BYTES + adapted * FULL_BYTES
    full = parameters * FULL_BYTES
    return Comparison(lora, full, -(-lora // usable), -(-full // usable))
