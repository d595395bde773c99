"""Lines: how many requests of each tenant wait and are under way, and where in its own line each of them stands."""

from collections import Counter
from dataclasses import dataclass

from anubhav.errors import Busy
from anubhav.types.quotas import Quota

_OPEN = 16_384
"""Requests of one tenant under way at a time."""


@dataclass(slots=True)
class Place:
    tenant: str
    number: int
    """Among all requests of its tenant, by arrival."""
    begun: bool = False


class Lines:
    def __init__(self) -> None:
        self._came: Counter[str] = Counter()
        self._begun: Counter[str] = Counter()
        self._left: Counter[str] = Counter()

    def join(self, tenant: str, quota: Quota = Quota()) -> Place:
        """Raises Busy when too many of the tenant's are under way."""
        quota.check_queue(self._came[tenant] - self._left[tenant])
        if self._came[tenant] - self._left[tenant] >= _OPEN:
            raise Busy(f"{_OPEN} samples of yours are waiting already", hint="Send fewer at a time.", retry_after=2)
        place = Place(tenant, self._came[tenant])
        self._came[tenant] += 1
        return place

    def begin(self, place: Place) -> None:
        """It is being worked on; saying so again changes nothing."""
        if not place.begun:
            place.begun = True
            self._begun[place.tenant] += 1

    def leave(self, place: Place) -> None:
        """Once."""
        self.begin(place)
        self._left[place.tenant] += 1

    def ahead(self, place: Place) -> tuple[int, int]:
        """(the tenant's own requests before it, those of others), of those that have not begun.

        Requests of one tenant begin in their order, but for what is cancelled; tenants take turns.
        """
        waiting = self._came - self._begun
        own = max(0, place.number - self._begun[place.tenant])
        return own, waiting.total() - waiting[place.tenant]
