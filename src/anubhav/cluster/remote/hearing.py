"""Hearing: all streams of one host are listened to with one call at a time, however many there are."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import cast

from anubhav.cluster.remote.host import Heard, News
from anubhav.cluster.remote.post import Post
from anubhav.errors import AnubhavError, Broken
from anubhav.types.ids import new_id
from anubhav.types.sampling import Sampled, SampleRequest

log = logging.getLogger(__name__)


class Ear:
    def __init__(self, post: Post, term: int) -> None:
        """For the host that stands or stood at the post in this term."""
        self.term = term
        self._post = post
        self._lines: dict[str, asyncio.Queue[Heard]] = {}
        """By stream; what was heard of it and not passed on yet."""
        self._hearing: asyncio.Task[None] | None = None
        self._heard = 0
        """The number of the last news."""

    async def stream(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        """Raises Lost when the host dies on the way. Closing it frees what it holds."""
        name, line, heard = new_id("st"), asyncio.Queue[Heard](), Heard(())
        self._lines[name] = line
        try:
            await self._post.call("begin", name, request, term=self.term)
            if self._hearing is None or self._hearing.done():
                self._hearing = asyncio.create_task(self._hear(), name=f"hearing {self._post.name}")
            while not heard.ended:
                heard = await line.get()
                for event in heard.events:
                    yield event
            if heard.failure:
                raise heard.failure
        finally:
            del self._lines[name]
            if not heard.ended:
                self._post.tell("end", name, term=self.term)

    async def _hear(self) -> None:
        try:
            while self._lines:
                news = cast(News, await self._post.call("listen", self._heard, term=self.term))
                self._heard = news.number
                for name, heard in news.told:
                    if line := self._lines.get(name):
                        line.put_nowait(heard)
        except Exception as problem:
            known = isinstance(problem, AnubhavError)
            if not known:
                log.error("%s is not heard any more", self._post.name, exc_info=problem)
            failure = problem if known else Broken("The cluster failed at this", hint="The server's log says why.")
            for line in self._lines.values():
                line.put_nowait(Heard((), ended=True, failure=failure))
