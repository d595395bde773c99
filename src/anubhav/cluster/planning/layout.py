"""Which layouts a model can have, by its census, and the layers of their stages."""

from itertools import pairwise

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.census import Census


def fault(census: Census, layout: Layout) -> str | None:
    """Why the model cannot be laid out so; None where it can."""
    return _fault_of_shape(layout) or _fault_of_heads(census, layout) or _fault_of_experts(census, layout)


def _fault_of_shape(layout: Layout) -> str | None:
    if layout.fsdp % layout.sp:
        return f"sp={layout.sp} does not divide fsdp={layout.fsdp}, of whose ranks it takes its own"
    if layout.stage_ranks % layout.ep:
        return f"ep={layout.ep} does not divide the tp × fsdp = {layout.stage_ranks} ranks of a stage"
    if layout.ep > 1 and layout.ep % layout.tp:
        return f"ep={layout.ep} is not a multiple of tp={layout.tp}"
    return None


def _fault_of_heads(census: Census, layout: Layout) -> str | None:
    heads = census.heads
    if layout.tp > 1 and census.tied:
        return f"tp={layout.tp} would cut a tied unembedding, which transformers cannot"
    if layout.tp > 1 and not census.sliceable:
        return f"{census.family} has no plan for tensor parallelism"
    sliced = layout.tp if census.heads_sliced else 1
    if heads.queries % sliced or heads.keys % sliced:
        return f"tp={layout.tp} does not divide the {heads.queries} query and {heads.keys} key heads"
    if heads.queries // sliced % layout.sp:
        return f"sp={layout.sp} does not divide the {heads.queries // sliced} heads of a rank"
    if layout.pp > len(census.layers):
        return f"pp={layout.pp} is more than the {len(census.layers)} layers"
    return _fault_of_widths(census, layout)


def _fault_of_widths(census: Census, layout: Layout) -> str | None:
    """Of a block that is cut: its outputs are the width."""
    for weight, _ in census.weights():
        if weight.role in ("dense", "shared") and weight.sliced == 0 and weight.shape[0] % layout.tp:
            return f"tp={layout.tp} does not divide the {weight.shape[0]} columns of {weight.name}"
    return None


def _fault_of_experts(census: Census, layout: Layout) -> str | None:
    if census.mixture is None:
        return f"ep={layout.ep}, and {census.family} has no experts" if layout.ep > 1 else None
    if census.mixture.experts % layout.ep:
        return f"ep={layout.ep} does not divide the {census.mixture.experts} experts"
    if layout.ep == 1 and census.mixture.width % layout.tp:
        return f"tp={layout.tp} does not divide the experts' width {census.mixture.width}"
    return None


def stages(census: Census, layout: Layout) -> tuple[range, ...]:
    """The layers of each pipeline stage: as many for each, and the last one has what remains, as the trainer cuts."""
    count = len(census.layers)
    each = count // layout.pp
    starts = [stage * each for stage in range(layout.pp)]
    return tuple(range(start, end) for start, end in pairwise([*starts, count]))
