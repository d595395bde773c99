"""Stock: the models this machine serves, has or can fetch, their licences, and whether its memory holds them."""

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from anubhav.catalog.sizes import size_of
from anubhav.errors import AnubhavError
from anubhav.flows.house import House
from anubhav.telemetry.machine import find_memory
from anubhav.types.models import Model

_USABLE = 0.8
"""Of the memory: the rest is what adapters, caches and everything else take at the least."""


@dataclass(frozen=True, slots=True)
class Stock:
    name: str
    licence: str
    source: str
    served: bool
    present: bool
    download_bytes: int
    """Still to be fetched; 0 where that is not known."""
    context_length: int | None
    parameters: int | None
    """None where the files, which tell it, are not here."""
    fits: Literal["float32", "bfloat16", "no"] | None
    """The widest type in which its weights leave room in the memory of this machine."""


async def take_stock(house: House) -> tuple[list[Stock], int]:
    """Those that are served first; and the bytes of memory that `fits` means."""
    return await asyncio.to_thread(_take, house)


def _take(house: House) -> tuple[list[Stock], int]:
    memory = find_memory()[0]
    rows = [_of(model, memory, served=True) for model in house.models.values()]
    folders = {model.folder for model in house.models.values()}
    for listing in house.library.list():
        model = _find(house, listing.name) if listing.present else None
        if model is not None and model.folder not in folders:
            rows.append(_of(model, memory, served=False))
        elif model is None:
            bare = (listing.name, listing.licence, listing.source, False, False, listing.download_bytes)
            rows.append(Stock(*bare, None, None, None))
    return rows, memory


def _find(house: House, name: str) -> Model | None:
    try:
        return house.library.find(name)
    except AnubhavError:
        return None


def _of(model: Model, memory: int, *, served: bool) -> Stock:
    count = _parameters(model.folder)
    return Stock(
        model.name, model.licence, model.source, served, True, 0, model.context_length, count or None,
        _fits(count, memory) if count else None,
    )  # fmt: skip


def _fits(parameters: int, memory: int) -> Literal["float32", "bfloat16", "no"]:
    if 4 * parameters <= _USABLE * memory:
        return "float32"
    return "bfloat16" if 2 * parameters <= _USABLE * memory else "no"


@lru_cache(maxsize=256)
def _parameters(folder: Path) -> int:
    try:
        return size_of(folder).parameters
    except (OSError, ValueError, KeyError):
        return 0
