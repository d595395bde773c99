"""Turns: who may go on when more want to than can, so that nobody waits for another's backlog.

Deficit round robin (Shreedhar and Varghese, 1995) in the counting form that serving of language models uses (Sheng et
al., 2024, "Fairness in Serving Large Language Models"): each tenant's use is counted, whoever used least goes first,
and the others follow when they are level again. Use is in whatever unit the caller charges.
"""

from collections.abc import Iterable, Set


class Turns:
    def __init__(self, *, owed: float, level: float) -> None:
        """`owed`: how far behind the others somebody who comes back may be, as rest cannot be saved up.

        `level`: within how much tenants share batches rather than alternate.
        """
        self._owed, self._level = owed, level
        self._used: dict[str, float] = {}
        self._wanting: frozenset[str] = frozenset()
        self._floor = 0.0
        """The least use among those who want, at its highest so far."""

    def want(self, tenants: Set[str]) -> None:
        """Say who has work now, waiting or under way."""
        if tenants == self._wanting:
            return
        staying = tenants & self._wanting
        self._floor = max(self._floor, min((self._used[tenant] for tenant in staying), default=self._floor))
        oldest = self._floor - self._owed
        for tenant in tenants - staying:
            self._used[tenant] = max(self._used.get(tenant, oldest), oldest)
        self._used = {one: used for one, used in self._used.items() if one in tenants or used > oldest}
        self._wanting = frozenset(tenants)

    def charge(self, tenant: str, cost: float) -> None:
        """Only for those who want."""
        self._used[tenant] += cost

    def order(self, tenants: Iterable[str]) -> list[str]:
        """Those who want, who used least first."""
        return sorted(tenants, key=lambda tenant: (self._used[tenant], tenant))

    def level(self, tenants: Iterable[str]) -> list[str]:
        """`order`, without those who must let others catch up first. Never empty when `tenants` is not."""
        ordered = self.order(tenants)
        return [tenant for tenant in ordered if self._used[tenant] <= self._used[ordered[0]] + self._level]
