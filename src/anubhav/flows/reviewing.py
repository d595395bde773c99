"""Reviewing: trials are looked at after each judgement, and by the clock, as a slow candidate may have no judgements.

What goes wrong here is written down and tried again: it never unmakes the feedback that was kept before.
"""

import asyncio
import logging

from anubhav.flows.house import House
from anubhav.flows.trying import review

_SECONDS = 30.0
log = logging.getLogger(__name__)


async def look(house: House, alias: str) -> None:
    """`review`, for those who have something else to answer for."""
    try:
        await review(house, alias)
    except Exception:
        log.exception("the trial of %s could not be looked at", alias)


class Reviewer:
    """Looks at every trial that runs, at the start and every half minute."""

    def __init__(self, house: House, seconds: float = _SECONDS) -> None:
        self._house, self._seconds = house, seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._go(), name="reviewer")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go(self) -> None:
        while True:
            await self._round()
            await asyncio.sleep(self._seconds)

    async def _round(self) -> None:
        try:
            aliases = await self._house.trials.tried_now()
        except Exception:
            log.exception("trials could not be listed")
            return
        for alias in aliases:
            await look(self._house, alias)
