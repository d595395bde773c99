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


async def keep_reviewing(house: House, seconds: float = _SECONDS) -> None:
    """Look at every trial that runs, at the start and every half minute, until it is cancelled."""
    while True:
        await _round(house)
        await asyncio.sleep(seconds)


async def _round(house: House) -> None:
    try:
        aliases = await house.trials.tried_now()
    except Exception:
        log.exception("trials could not be listed")
        return
    for alias in aliases:
        await look(house, alias)
