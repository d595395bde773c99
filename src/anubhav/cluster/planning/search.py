"""Which layouts a model can have on so many cards, which of them fit, and the best of those first."""

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.hardware import Hardware
from anubhav.cluster.planning.layout import fault
from anubhav.cluster.planning.memory import Load, RankBytes, rank_bytes
from anubhav.cluster.planning.timing import Estimate, estimate
from anubhav.cluster.planning.traffic import Collective, collectives

_FARTHER = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""How many times the cards are tried when none of their layouts fits."""


@dataclass(frozen=True, slots=True)
class Option:
    layout: Layout
    stages: tuple[RankBytes, ...]
    traffic: tuple[Collective, ...]
    estimate: Estimate

    @property
    def fullest(self) -> RankBytes:
        return max(self.stages, key=lambda one: one.total)


def weigh(census: Census, adapter: Adapter, layout: Layout, load: Load, hardware: Hardware) -> Option:
    traffic = collectives(census, adapter, layout, load)
    return Option(
        layout,
        rank_bytes(census, adapter, layout, load),
        traffic,
        estimate(census, adapter, layout, load, hardware, traffic),
    )


def layouts(census: Census, cards: int, hardware: Hardware) -> Iterator[Layout]:
    """Every layout of exactly these cards; tensor and sequence parallelism do not leave a node."""
    near = min(hardware.node, cards)
    for tp in _divisors(cards, near):
        for pp in _divisors(cards // tp, len(census.layers)):
            fsdp = cards // tp // pp
            for sp in _divisors(fsdp, near // tp):
                for ep in _divisors(tp * fsdp, census.mixture.experts if census.mixture else 1):
                    layout = Layout(tp, pp, ep, sp, fsdp)
                    if fault(census, layout) is None:
                        yield layout


def _divisors(number: int, most: int) -> list[int]:
    return [size for size in range(1, min(number, max(most, 1)) + 1) if number % size == 0]


@dataclass(frozen=True, slots=True)
class Found:
    fitting: tuple[Option, ...]
    """The fastest first, by their estimates."""
    tried: int
    closest: Option | None
    """The one that needs the least memory, whether it fits or not; None where no layout divides the model."""


def search(census: Census, adapter: Adapter, cards: int, load: Load, hardware: Hardware) -> Found:
    options = [weigh(census, adapter, one, load, hardware) for one in layouts(census, cards, hardware)]
    fitting = [one for one in options if one.fullest.total <= hardware.room]
    return Found(
        fitting=tuple(sorted(fitting, key=lambda one: (one.estimate.step, one.fullest.total))),
        tried=len(options),
        closest=min(options, key=lambda one: one.fullest.total, default=None),
    )


def more_cards(census: Census, adapter: Adapter, cards: int, load: Load, hardware: Hardware) -> Option | None:
    """The best layout of the fewest cards, from these on, that fits."""
    for times in _FARTHER:
        if found := search(census, adapter, cards * times, load, hardware).fitting:
            return found[0]
    return None


def shorter(census: Census, adapter: Adapter, cards: int, load: Load, hardware: Hardware) -> int | None:
    """The longest sequence, halving it, that fits on these cards."""
    length = load.sequence // 2
    while length >= 256:
        if search(census, adapter, cards, Load(length, load.batch, load.cached), hardware).fitting:
            return length
        length //= 2
    return None


def nearest(layout: Layout, options: tuple[Option, ...]) -> Option | None:
    """The one whose axes differ by the fewest doublings."""

    def distance(one: Option) -> float:
        pairs = zip(astuple(layout), astuple(one.layout), strict=True)
        return sum(abs(math.log2(mine / theirs)) for mine, theirs in pairs)

    return min(options, key=distance, default=None)
