"""The adapters of a batch of rows that decode: any number of them, of any ranks, in one pass over each layer.

What an adapter adds to a few rows is too small for a matrix product: a native kernel takes all adapters of a layer at
once, from addresses that are gathered when the batch's make-up changes and not at every step.
Axes: I inputs, R rank, O outputs, T rows.
"""

import ctypes
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from anubhav.backends.torch.kernels import native
from anubhav.backends.torch.layers.adapters import EXPERTS, Adapter, Site, split, widths
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.layers.lora import Segment, Segments, add

_LANES: Final = 16
"""The kernel takes outputs in multiples of this."""
_FEW: Final = 64
"""Rows of one adapter beyond which a matrix product is faster."""
_SERIAL: Final = itertools.count()


class Speaker:
    """An adapter to sample with, never changed. Keeps each B the other way round, as the kernel reads it."""

    def __init__(self, config: ModelConfig, adapter: Adapter) -> None:
        self.adapter = adapter
        self.serial = next(_SERIAL)
        """No two speakers ever have the same one: what one of them read is no other's."""
        self._kept: list[Tensor] = []
        usual = [site for site in adapter.pairs if site[1] not in EXPERTS] if native.library() else []
        self.places = {site: self._place(config, site) for site in usual}
        """By site: the addresses of A and of each fused module's B."""

    def _place(self, config: ModelConfig, site: Site) -> list[int]:
        pair = self.adapter.pairs[site]
        a_RI = pair.a_RI.detach().contiguous()
        parts = split(config, self.adapter.spec, site[1], a_RI, pair.b_OR.detach())
        kept = [a_RI, *(b_OR.t().contiguous() for _, _, b_OR in parts)]
        self._kept += kept
        return [one.data_ptr() for one in kept]


@dataclass(frozen=True, slots=True)
class _Adapters:
    """Those that the kernel adds: each one's rows stand side by side, and `ends` says where they end."""

    rows: Tensor
    ends: Tensor
    ranks: Tensor
    scales: Tensor

    @property
    def segments(self) -> int:
        return len(self.ends)


def _tabled(adapters: Sequence[Adapter], rows: Collection[Sequence[int]]) -> _Adapters:
    return _Adapters(
        torch.tensor([row for some in rows for row in some], dtype=torch.int32),
        torch.tensor(list(itertools.accumulate(map(len, rows))), dtype=torch.int32),
        torch.tensor([adapter.spec.rank for adapter in adapters], dtype=torch.int32),
        torch.tensor([adapter.scale for adapter in adapters]),
    )


class Speakers(Segments):
    """Who speaks in which rows: plain segments for whoever asks, and a faster way for layers of the usual kind."""

    def __init__(self, config: ModelConfig, rows: Sequence[Speaker | None], device: torch.device) -> None:
        """`rows`: by row of the batch; None speaks with the base model."""
        self._config = config
        speakers = {speaker.serial: speaker for speaker in rows if speaker is not None}
        places: dict[int, list[int]] = {serial: [] for serial in speakers}
        for row, speaker in enumerate(rows):
            if speaker is not None:
                places[speaker.serial].append(row)
        self._library = native.library() if device.type == "cpu" else None
        whole = len(places) == 1 and sum(map(len, places.values())) == len(rows)
        segments = {
            serial: Segment(speakers[serial].adapter, None if whole else torch.tensor(some, device=device))
            for serial, some in places.items()
        }
        super().__init__(segments.values())
        few = {serial: some for serial, some in places.items() if len(some) <= _FEW and self._library}
        self._few = [speakers[serial] for serial in few]
        self._many = [segment for serial, segment in segments.items() if serial not in few]
        self.adapters = _tabled([speaker.adapter for speaker in self._few], few.values()) if few else None
        self._tables: dict[Site, tuple[Tensor, Tensor] | None] = {}

    def add(self, site: Site, x_TI: Tensor, y_TO: Tensor) -> None:
        """Add to y what the adapters make of x, in place."""
        table = self.table(site)
        if self._library and table and native.fits(x_TI, y_TO) and x_TI.dtype == y_TO.dtype:
            self._run(self._library, table, x_TI, y_TO)
            add(self._many, site, x_TI, y_TO)
        else:
            add(self, site, x_TI, y_TO)

    @property
    def natively(self) -> bool:
        """Whether the kernel adds all of them."""
        return self._library is not None and not self._many

    def table(self, site: Site) -> tuple[Tensor, Tensor] | None:
        """The addresses, (adapters, 1 + modules), and where each module's outputs begin. None: not for the kernel."""
        if site not in self._tables:
            self._tables[site] = self._table(site)
        return self._tables[site]

    def _run(self, library: ctypes.CDLL, table: tuple[Tensor, Tensor], x_TI: Tensor, y_TO: Tensor) -> None:
        places, offsets = table
        assert self.adapters is not None
        told = self.adapters
        batch = (native.at(x_TI), native.at(y_TO), native.at(told.rows), native.at(told.ends), told.segments)
        adapters = (native.at(told.ranks), native.at(told.scales), native.at(places))
        layer = (len(offsets) - 1, native.at(offsets), x_TI.shape[1])
        if library.adapt(*batch, *adapters, *layer, native.FLOATS[x_TI.dtype], native.threads()):
            raise MemoryError("No memory for the adapters of a batch")

    def _table(self, site: Site) -> tuple[Tensor, Tensor] | None:
        outputs = widths(self._config, site[1])[1]
        if not self._few or any(width % _LANES for width in outputs):
            return None
        none = [0] * (1 + len(outputs))
        places = [speaker.places.get(site, none) for speaker in self._few]
        return torch.tensor(places), torch.tensor([0, *itertools.accumulate(outputs)])
