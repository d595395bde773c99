"""Feeds: which of a client's samples are ready, told to one long poll instead of to one per sample.

Cursors begin at the time this process did, so one of an earlier process is recognised.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from anubhav.errors import Gone

Target = tuple[str, int]
"""A sampling session and the number of one of its clients."""


@dataclass(frozen=True, slots=True)
class Ready:
    promise: str
    failed: bool


class Feeds:
    def __init__(self) -> None:
        self._born = self._last = time.time_ns() // 1000
        self._ready: dict[Target, dict[int, Ready]] = {}
        self._places: dict[str, tuple[Target, int]] = {}
        self._changed: dict[Target, asyncio.Event] = {}
        """Of those for whom somebody waits."""

    def tell(self, target: Target, promise: str, *, failed: bool) -> None:
        self._last += 1
        self._ready.setdefault(target, {})[self._last] = Ready(promise, failed)
        self._places[promise] = target, self._last
        if changed := self._changed.pop(target, None):
            changed.set()

    def forget(self, promise: str) -> None:
        """It was seen, or is no longer held."""
        if place := self._places.pop(promise, None):
            target, cursor = place
            del self._ready[target][cursor]
            if not self._ready[target]:
                del self._ready[target]

    async def read(self, target: Target, seen: int, timeout: float) -> tuple[list[Ready], int]:  # noqa: ASYNC109 - a long poll
        """What is ready after the cursor `seen`, and the new cursor; what lies before it is forgotten.

        Raises Gone for a cursor of an earlier process: what its client waits for is lost.
        """
        if 0 < seen < self._born:
            raise lost()
        for cursor, ready in list(self._ready.get(target, {}).items()):
            if cursor <= seen:
                self.forget(ready.promise)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while target not in self._ready and timeout > 0:
                    await self._changed.setdefault(target, asyncio.Event()).wait()
        found = self._ready.get(target, {})
        return list(found.values()), max(found, default=seen)


def lost() -> Gone:
    return Gone("The server was restarted and lost the samples under way", hint="Sample again with a new client.")
