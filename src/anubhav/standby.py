"""Standing by: of several servers with one store, one leads, and the others answer in its name until it is their turn.

Whoever takes the lead opens the house as after a crash: everything that was acknowledged is in the journal. Whoever
loses it stops, and tells so: what it would still answer could be of the past.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from anubhav.http.relay import Relay
from anubhav.store.database import Database
from anubhav.store.leading import Candidate
from anubhav.store.postgres import Deposed, Postgres

_PAUSE = 0.3
"""Seconds between two looks at who leads."""
_WATCH = 1.0
"""Seconds between two looks whether this one still does."""
_LAST = 20.0
"""Seconds that a server takes at most to end when it leads no more."""
_ANYWHERE = ("0.0.0.0", "::")

log = logging.getLogger(__name__)


@asynccontextmanager
async def turn(
    url: str,
    folder: Path,
    place: tuple[str, int],
    serving: "asyncio.Task[None]",
    relay: Relay,
    tell: Callable[[str], None],
) -> AsyncGenerator["Turn | None"]:
    """Stands by until this server leads, or gives None when `serving` ended before. `place`: where it listens.

    `tell` is told who leads when that is somebody else.
    """
    candidate = await asyncio.to_thread(Candidate, url, folder)
    try:
        term = await _wait(candidate, place, serving, relay, tell)
        relay.leader = None
        if term is None:
            yield None
        else:
            log.info("this server leads (term %d)", term)
            yield Turn(candidate, term, await asyncio.to_thread(Postgres, url, term))
    finally:
        candidate.close()


class Turn:
    def __init__(self, candidate: Candidate, term: int, engine: Postgres) -> None:
        self.database = Database(engine)
        self._candidate, self._term = candidate, term

    async def over(self, serving: "asyncio.Task[None]") -> None:
        """Waits until `serving` ends. Raises Deposed, at once, when another server leads or may."""
        while not serving.done():
            await asyncio.wait([serving], timeout=_WATCH)
            if not serving.done() and not await asyncio.to_thread(self._candidate.holds, self._term):
                raise Deposed(
                    "This server lost its connection to the database, and leads no more",
                    hint="Start it again: it stands by, or leads if nobody else does.",
                )


def end_soon() -> None:
    """After Deposed: an orderly end must not take long, as nothing that is written in it counts."""
    end = threading.Timer(_LAST, os._exit, (1,))
    end.daemon = True
    end.start()


async def _wait(
    candidate: Candidate,
    place: tuple[str, int],
    serving: "asyncio.Task[None]",
    relay: Relay,
    tell: Callable[[str], None],
) -> int | None:
    host, port = place
    address, told = _address(candidate.near if host in _ANYWHERE else host, port), False
    while not serving.done():
        term = await asyncio.to_thread(candidate.stand, address)
        if term is not None:
            return term
        relay.leader = candidate.leader if candidate.leader != address else None
        if candidate.leader is not None and not told:
            told = True
            tell(candidate.leader)
        await asyncio.wait([serving], timeout=_PAUSE)
    return None


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
