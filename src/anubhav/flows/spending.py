"""Spending: what a tenant trained, saved and kept, by day and base model."""

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, cast

from anubhav.flows.house import House
from anubhav.training.accounts import HOUR

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Spent:
    day: int
    """Its beginning in seconds since the epoch (UTC)."""
    what: Literal["training", "checkpoint", "storage"]
    """In tokens, in checkpoints, in gigabyte-hours."""
    base_model: str
    quantity: float


async def spent(house: House, tenant: str, days: int) -> list[Spent]:
    """The last days with today, newest first."""
    end = int(time.time() // HOUR + 1) * HOUR
    start = int(time.time() // DAY - days + 1) * DAY
    sums: defaultdict[tuple[int, str, str], float] = defaultdict(float)
    for one in (await house.desk.accounts.bill(tenant, start, end)).used:
        sums[one.hour // DAY * DAY, one.kind, one.base_model] += one.quantity
    kinds = Literal["training", "checkpoint", "storage"]
    rows = [Spent(day, cast(kinds, kind), model, quantity) for (day, kind, model), quantity in sums.items()]
    return sorted(rows, key=lambda row: (-row.day, row.base_model, row.what))
