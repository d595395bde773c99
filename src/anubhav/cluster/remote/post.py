"""A post: the place of one host in the cluster. Who stands there may die; then another one is put there, empty.

Nothing is retried here: a step that was done twice would be worse than one that failed. Whoever calls is told that
what the host held is `Lost`, and knows what to do about it. A host that does not answer a ping is dead, whatever it
computes: behind a cut network nothing else can be told.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from ray import kill
from ray.actor import ActorHandle
from ray.exceptions import RayError

from anubhav.cluster.remote.host import Answer
from anubhav.errors import AnubhavError, Lost, Unavailable

_BEAT = 10.0
"""Seconds between looks whether a host that is at work still lives."""
_SILENCE = 30.0
"""Seconds in which a living host answers a ping, however busy it is."""
_OPENING = 900.0
"""Seconds to find room and load a model in."""
_LEAVING = 0.2
"""Seconds between looks whether a host that is to go has anything to do."""
_OF_STREAMS = ("begin", "listen")
"""What a host that is to go still answers."""
log = logging.getLogger(__name__)


class Post:
    def __init__(
        self,
        name: str,
        hire: Callable[[], ActorHandle[Any]],
        papers: tuple[str, str | None, str],
        allowed: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`hire` makes an actor of Host; `papers` is what its `open` takes; `allowed` says where one may stand."""
        self.name = name
        self.term = 0
        """Counts the hosts that stood here; what one held, the next does not."""
        self.node = ""
        """Of who stands here, or stood here last."""
        self._hire, self._papers, self._allowed = hire, papers, allowed
        self._handle: ActorHandle[Any] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._leaving: dict[int, ActorHandle[Any]] = {}
        """Who stood here in that term, and has streams to end."""
        self._at_work: Counter[int] = Counter()
        """Calls that are no streams', by term."""

    @property
    def filled(self) -> bool:
        return self._handle is not None

    async def open(self) -> None:
        """Have a host here that has loaded the model. Raises why there is none."""
        await self._present()

    def fill(self) -> None:
        """See to it that a host comes here, and wait for nothing."""
        if not self.filled and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill(), name=f"filling {self.name}")
            self._filling.add_done_callback(self._tell)

    async def call(self, method: str, *words: Any, term: int | None = None) -> Any:
        """What the host answers. Raises its failure, and Lost when it died or is not the host of that term."""
        handle, found = await self._present()
        if term is not None and term != found:
            if method not in _OF_STREAMS or term not in self._leaving:
                raise self._lost()
            handle, found = self._leaving[term], term
        counts = method not in _OF_STREAMS
        self._at_work[found] += counts
        try:
            answer = await self._await(handle, getattr(handle, method).remote(*words))
        finally:
            self._at_work[found] -= counts
        if isinstance(answer, Answer):
            if answer.failure:
                raise answer.failure
            return answer.value
        return answer

    def tell(self, method: str, *words: Any, term: int | None = None) -> None:
        """Say it, and wait for nothing."""
        handle = self._handle if term in (None, self.term) else self._leaving.get(term)
        if handle is not None:
            getattr(handle, method).remote(*words)

    async def look(self) -> dict[str, Any] | None:
        """What the host says of itself; None when there is none that answers."""
        return None if self._handle is None else await _ping(self._handle)

    async def move(self, patience: float) -> None:
        """Put another host where one is allowed, and let the one here go once it has done what was begun with it.

        Streams have so many seconds; those that do not end go on at whoever takes them. Raises why it has to stay.
        """
        if (former := self._handle) is None:
            return
        handle, node = await self._put_up()
        if self._handle is not former:
            kill(handle)  # the one here died meanwhile, and whoever came since may stay
            return
        term = self.term
        self._leaving[term] = former
        self._take(handle, node)
        try:
            await self._rest(former, term, time.monotonic() + patience)
        finally:
            del self._leaving[term]
            kill(former)

    async def _rest(self, former: ActorHandle[Any], term: int, until: float) -> None:
        """Until it has nothing to do, or only streams that have had their time."""
        while True:
            streams = (await _ping(former) or {}).get("streams", 0) if time.monotonic() < until else 0
            if not streams and not self._at_work[term]:
                return
            await asyncio.sleep(_LEAVING)

    def close(self) -> None:
        if self._filling:
            self._filling.cancel()
        self._dismiss()

    async def _present(self) -> tuple[ActorHandle[Any], int]:
        while self._handle is None:
            self.fill()
            assert self._filling
            # Shielded: who asked may go away, and others wait for the same host.
            await asyncio.shield(self._filling)
        return self._handle, self.term

    async def _fill(self) -> None:
        self._take(*await self._put_up())

    def _tell(self, filling: "asyncio.Task[None]") -> None:
        if not filling.cancelled() and (problem := filling.exception()):
            log.warning("%s has nobody: %s", self.name, problem)

    def _take(self, handle: ActorHandle[Any], node: str) -> None:
        self._handle, self.node, self.term = handle, node, self.term + 1

    async def _put_up(self) -> tuple[ActorHandle[Any], str]:
        """A host that has loaded the model, and its node."""
        while True:
            handle = self._hire()
            try:
                async with asyncio.timeout(_OPENING):
                    answer = cast(Answer, await _result(handle.open.remote(*self._papers)))
                if answer.failure:
                    raise answer.failure
            except TimeoutError as problem:
                kill(handle)
                raise Unavailable(
                    f"{self.name} found no room in the cluster, or no end of loading", hint="Add a node."
                ) from problem
            except RayError as problem:
                kill(handle)
                log.warning("%s did not come up: %s", self.name, problem)
                raise self._lost() from problem
            except BaseException:
                kill(handle)
                raise
            if self._allowed(answer.value["node_id"]):
                return handle, answer.value["node_id"]
            kill(handle)  # its node is to be left since it was sent there

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
                if self._handle is handle:  # and not one that was let go
                    log.warning("%s was lost: %s", self.name, problem)
                    self._dismiss()
                raise self._lost() from problem

    def _dismiss(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            kill(handle)

    def _lost(self) -> AnubhavError:
        return Lost(f"{self.name} was lost and is put up anew", hint="Repeat the request in a moment.")


def ready(posts: Sequence[Post]) -> Sequence[Post]:
    """Those where somebody stands, who need not wait for room or a model; all, if nobody does anywhere.

    The others are being filled meanwhile.
    """
    for post in posts:
        post.fill()
    return [post for post in posts if post.filled] or posts


async def _ping(handle: ActorHandle[Any]) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(_SILENCE):
            return cast(dict[str, Any], await _result(handle.ping.remote()))
    except (TimeoutError, RayError):
        return None


def _result(reference: Any) -> "asyncio.Future[Any]":
    return asyncio.wrap_future(reference.future())
