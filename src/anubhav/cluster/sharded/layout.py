"""Who sits where in a layout. What does not divide is refused here, by name, with the nearest layout of the same number
of processes that works; and what is more than there is room for, with the nearest that has room.

Ranks are numbered as transformers' mesh has them: pipeline, then FSDP, then tensor, the last one fastest. Experts see
the ranks of a pipeline stage as (copies, ep), and sequences are split over neighbours on the FSDP axis.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.cluster.layout import Layout
from anubhav.errors import BadInput


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a rank is on each axis."""

    tp: int
    fsdp: int
    pp: int
    ep: int
    copy: int
    """Which of the ranks with the same experts."""

    @staticmethod
    def of(rank: int, layout: Layout) -> "Seat":
        pp, inner = divmod(rank, layout.stage_ranks)
        fsdp, tp = divmod(inner, layout.tp)
        copy, ep = divmod(inner, layout.ep)
        return Seat(tp, fsdp, pp, ep, copy)


def check(layout: Layout, config: ModelConfig) -> None:
    """Raises BadInput for a layout that cannot carry this model."""
    reason = _obstacle(layout, config)
    if reason is None:
        return
    near = nearest(layout, config, [layout.ranks])
    hint = f"The nearest that works on {near.ranks} processes: {near}." if near else "Use another number of processes."
    raise BadInput(f"The layout {layout} does not fit this model: {reason}", hint=hint)


def check_room(layout: Layout, config: ModelConfig, room: int, where: str) -> None:
    """Raises BadInput for one of more ranks than `room`; `where` says who has that many of what."""
    if layout.ranks <= room:
        return
    near = nearest(layout, config, range(1, room + 1))
    raise BadInput(
        f"The layout {layout} makes {layout.ranks} ranks (tp × fsdp × pp), and {where}",
        hint=f"The nearest that works here: --layout {near}." if near else "Leave out --layout.",
    )


def nearest(layout: Layout, config: ModelConfig, ranks: Iterable[int]) -> Layout | None:
    """The one of any of these numbers of processes that is least far off, by the logarithms of its sizes."""
    fits = [one for count in ranks for one in _layouts(count, config) if _obstacle(one, config) is None]

    def off(one: Layout) -> float:
        return sum(abs(math.log(a / b)) for a, b in zip(astuple(one), astuple(layout), strict=True))

    return min(fits, key=off, default=None)


def _layouts(ranks: int, config: ModelConfig) -> Iterator[Layout]:
    for pp in _divisors(ranks):
        for tp in _divisors(ranks // pp):
            fsdp = ranks // pp // tp
            for ep in _divisors(tp * fsdp) if config.mixture else [1]:
                for sp in _divisors(fsdp):
                    yield Layout(tp=tp, fsdp=fsdp, ep=ep, pp=pp, sp=sp)


def _divisors(number: int) -> list[int]:
    return [one for one in range(1, number + 1) if number % one == 0]


def _obstacle(layout: Layout, config: ModelConfig) -> str | None:
    """What stands in its way, in words; None when nothing does."""
    return _of_sizes(layout) or _of_tensors(layout, config) or _of_experts(layout, config) or _of_rest(layout, config)


def _of_sizes(layout: Layout) -> str | None:
    if min(astuple(layout)) < 1:
        return "sizes are 1 or more"
    if layout.fsdp % layout.sp:
        return f"sequences are split over ranks of the FSDP axis, and {layout.fsdp} is no multiple of {layout.sp}"
    return None


def _of_tensors(layout: Layout, config: ModelConfig) -> str | None:
    widths: dict[str, int] = {}
    if config.latent is None:  # attention over latents is not split by transformers' plan
        widths |= {"heads": config.heads, "key-value heads": config.kv_heads}
    widths |= {"MLP columns": config.intermediate}
    if config.mixture:
        widths |= {"columns of the shared expert": config.mixture.shared}
        if layout.ep == 1:
            widths |= {"columns of an expert": config.mixture.width}
    for name, width in widths.items():
        if width % layout.tp:
            return f"{width} {name} are no multiple of tp {layout.tp}"
    return None


def _of_experts(layout: Layout, config: ModelConfig) -> str | None:
    if layout.ep == 1:
        return None
    if config.mixture is None:
        return "it has no experts to split"
    if config.mixture.experts % layout.ep:
        return f"{config.mixture.experts} experts are no multiple of ep {layout.ep}"
    if layout.ep % layout.tp or layout.stage_ranks % layout.ep:
        return f"ep {layout.ep} must be a multiple of tp {layout.tp} and divide tp x fsdp, {layout.stage_ranks}"
    return None


def _of_rest(layout: Layout, config: ModelConfig) -> str | None:
    if layout.pp > config.layers:
        return f"{config.layers} layers are fewer than its stages"
    heads = config.heads if config.latent else config.heads // layout.tp
    if heads % layout.sp:
        return f"{heads} heads of a rank are no multiple of sp {layout.sp}"
    return None
