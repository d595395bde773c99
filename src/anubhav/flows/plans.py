"""Plans for clusters, asked for by pages and clients: one is made at a time, beside the server; the newest are kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from anubhav.errors import AnubhavError, Busy, NotFound
from anubhav.types.ids import new_id

Make = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
_KEPT, _WAITING = 20, 4


@dataclass(frozen=True, slots=True)
class Drawn:
    id: str
    wishes: Mapping[str, Any]
    state: Literal["running", "done", "failed"]
    asked_at: float
    seconds: float = 0.0
    """That it took."""
    plan: Mapping[str, Any] | None = None
    failure: str = ""


class Plans:
    def __init__(self, make: Make, models: Sequence[str], cards: Sequence[str]) -> None:
        """`models` and `cards`: those that are known by name."""
        self._make, self.models, self.cards = make, tuple(models), tuple(cards)
        self._turn = asyncio.Lock()
        self._kept: dict[str, Drawn] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, wishes: Mapping[str, Any]) -> Drawn:
        """Raises Busy when several wait already."""
        if len(self._tasks) >= _WAITING:
            raise Busy("Several plans are being made", hint="Wait for one of them.", retry_after=10)
        drawn = Drawn(new_id("plan"), dict(wishes), "running", time.time())
        for old in [name for name, one in self._kept.items() if one.state != "running"][: -_KEPT or None]:
            del self._kept[old]
        self._kept[drawn.id] = drawn
        task = asyncio.create_task(self._draw(drawn), name=drawn.id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return drawn

    def find(self, name: str) -> Drawn:
        if name not in self._kept:
            raise NotFound(f"There is no plan {name[:100]}", hint="Only the newest are kept: ask for it again.")
        return self._kept[name]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _draw(self, drawn: Drawn) -> None:
        async with self._turn:
            begun = time.monotonic()
            try:
                made = await self._make(drawn.wishes)
            except AnubhavError as problem:
                done = replace(drawn, state="failed", failure=str(problem))
            else:
                done = replace(drawn, state="done", plan=made)
            self._kept[drawn.id] = replace(done, seconds=round(time.monotonic() - begun, 1))
