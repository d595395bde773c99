"""The Reader port over several hosts. It holds nothing, so what one did not finish another one does."""

import itertools
from collections.abc import Sequence
from typing import Any

from anubhav.cluster.remote.post import Post, ready
from anubhav.errors import Lost, Unavailable
from anubhav.types.arrays import Array

_TRIES = 3


class RemoteReader:
    def __init__(self, posts: Sequence[Post]) -> None:
        self._posts, self._turns = posts, itertools.count()

    async def read(self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = "") -> list[Array]:
        return await self._ask("read", items, tenant)

    async def surprise(
        self, items: Sequence[tuple[Sequence[int], Sequence[int]]], *, tenant: str = ""
    ) -> list[list[float]]:
        return await self._ask("surprise", items, tenant)

    async def attend(
        self, prompt: Sequence[int], spans: Sequence[tuple[int, int]], last: int, *, tenant: str = ""
    ) -> list[float]:
        return await self._ask("attend", prompt, spans, last, tenant)

    async def _ask(self, method: str, *words: Any) -> Any:
        for _ in range(_TRIES):
            posts = ready(self._posts)
            try:
                return await posts[next(self._turns) % len(posts)].call(method, *words)
            except Lost:
                continue
        raise Unavailable("Nobody could read this", hint="Repeat the request in a moment.")
