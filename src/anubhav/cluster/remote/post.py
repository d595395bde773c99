"""A post: the place of one host in the cluster. Who stands there may die; then another one is put there, empty.

Nothing is retried here: a step that was done twice would be worse than one that failed. Whoever calls is told that
what the host held is `Lost`, and knows what to do about it. A host that does not answer a ping is dead, whatever it
computes: behind a cut network nothing else can be told.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from ray import kill
from ray.actor import ActorHandle
from ray.exceptions import RayError

from anubhav.cluster.remote.host import Answer
from anubhav.errors import AnubhavError, Lost

_BEAT = 10.0
"""Seconds between looks whether a host that is at work still lives."""
_SILENCE = 30.0
"""Seconds in which a living host answers a ping, however busy it is."""
_OPENING = 900.0
"""Seconds to load a model in."""
log = logging.getLogger(__name__)


class Post:
    def __init__(self, name: str, hire: Callable[[], ActorHandle[Any]], papers: tuple[str, str | None, str]) -> None:
        """`hire` makes an actor of Host; `papers` is what its `open` takes."""
        self.name = name
        self.term = 0
        """Counts the hosts that stood here; what one held, the next does not."""
        self._hire, self._papers = hire, papers
        self._handle: ActorHandle[Any] | None = None
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Have a host here that has loaded the model. Raises why there is none."""
        await self._present()

    async def call(self, method: str, *words: Any, term: int | None = None) -> Any:
        """What the host answers. Raises its failure, and Lost when it died or is not the host of that term."""
        handle, found = await self._present()
        if term not in (None, found):
            raise self._lost()
        answer = await self._await(handle, getattr(handle, method).remote(*words))
        if isinstance(answer, Answer):
            if answer.failure:
                raise answer.failure
            return answer.value
        return answer

    def tell(self, method: str, *words: Any) -> None:
        """Say it, and wait for nothing."""
        if self._handle is not None:
            getattr(self._handle, method).remote(*words)

    async def look(self) -> dict[str, Any] | None:
        """What the host says of itself; None when there is none that answers."""
        if self._handle is None:
            return None
        try:
            async with asyncio.timeout(_SILENCE):
                return cast(dict[str, Any], await _result(self._handle.ping.remote()))
        except (TimeoutError, RayError):
            return None

    def close(self) -> None:
        self._dismiss()

    async def _present(self) -> tuple[ActorHandle[Any], int]:
        async with self._changing:
            if self._handle is None:
                handle = self._hire()
                try:
                    async with asyncio.timeout(_OPENING):
                        answer = cast(Answer, await _result(handle.open.remote(*self._papers)))
                except (TimeoutError, RayError) as problem:
                    kill(handle)
                    log.warning("%s did not come up: %s", self.name, problem)
                    raise self._lost() from problem
                if answer.failure:
                    kill(handle)
                    raise answer.failure
                self._handle, self.term = handle, self.term + 1
            return self._handle, self.term

    async def _await(self, handle: ActorHandle[Any], reference: Any) -> Any:
        work = _result(reference)
        while True:
            done, _ = await asyncio.wait({work}, timeout=_BEAT)
            try:
                if done:
                    return work.result()
                async with asyncio.timeout(_SILENCE):
                    await _result(handle.ping.remote())
            except (TimeoutError, RayError) as problem:
                work.cancel()
                log.warning("%s was lost: %s", self.name, problem)
                if self._handle is handle:
                    self._dismiss()
                raise self._lost() from problem

    def _dismiss(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            kill(handle)

    def _lost(self) -> AnubhavError:
        return Lost(f"{self.name} was lost and is put up anew", hint="Repeat the request in a moment.")


def _result(reference: Any) -> "asyncio.Future[Any]":
    return asyncio.wrap_future(reference.future())
