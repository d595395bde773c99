"""The Trainer port over a gang: one call at a time, whole answers out of the parts of all ranks.

Nothing here touches a tensor of the model. A gang that ends takes its adapters with it: every later call on one that
has not been created or loaded since raises Lost, from which a run's turnstile knows to bring it back.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from anubhav.backends.torch.models.families import read_config
from anubhav.cluster.sharded.census import Census
from anubhav.cluster.sharded.gang import Gang
from anubhav.cluster.sharded.layout import check
from anubhav.cluster.sharded.processes import Processes
from anubhav.cluster.sharded.results import together
from anubhav.cluster.sharded.worker import Plan
from anubhav.errors import Broken, Lost
from anubhav.types.distilling import Distillation, Distilled, summed_up
from anubhav.types.ids import AdapterId
from anubhav.types.training import LoraSpec, OptimParams, Pass, PassResult

_STARTING = 900.0
"""Seconds to load the base."""


def start_here(plan: Plan, deadline: float) -> Gang:
    """A gang of this machine's processes."""
    return Gang(Processes(plan), plan, deadline=deadline)


class ShardedTrainer:
    def __init__(
        self, plan: Plan, *, deadline: float = 600.0, start: Callable[[Plan, float], Gang] = start_here
    ) -> None:
        """Starts the gang. Raises BadInput, with the nearest layout that works, for one that does not fit the model.

        `deadline`: seconds that a call may take, each pass by itself. `start`: makes a gang of a plan, which has loaded
        the base within so many seconds.
        """
        self._start = start
        self._config = read_config(plan.folder)
        check(plan.layout, self._config)
        self._plan, self.deadline = plan, deadline
        self._known: set[AdapterId] = set()
        self._lost: set[AdapterId] = set()
        self.generation = 0
        """How many gangs there have been: when it grows, the adapters are gone."""
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="gang")
        self._gang: Gang | None = None
        try:
            self._queue.submit(self._begin).result()
        except BaseException:
            self._queue.shutdown()
            raise

    def close(self) -> None:
        """Stop after the call under way. Safe to call twice."""
        self._queue.submit(self._end).result()
        self._queue.shutdown()

    async def create(self, adapter: AdapterId, spec: LoraSpec) -> None:
        await self._go(partial(self._make, adapter, "create", adapter, spec))

    async def run(self, passes: Sequence[Pass], *, tenant: str = "") -> Sequence[PassResult]:
        return [await self._go(partial(self._run, work)) for work in passes]

    async def step(self, adapter: AdapterId, params: OptimParams) -> Mapping[str, float]:
        return (await self._go(partial(self._use, adapter, "step", adapter, params)))[0]

    async def save(self, adapter: AdapterId, to: Path, *, optimizer: bool) -> None:
        await self._go(partial(self._use, adapter, "save", adapter, to, optimizer=optimizer))

    async def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        await self._go(partial(self._make, adapter, "load", adapter, source, optimizer=optimizer))

    async def blend(self, adapter: AdapterId, parts: Sequence[tuple[Path, float]]) -> None:
        await self._go(partial(self._make, adapter, "blend", adapter, tuple(parts)))

    async def distil(
        self, adapter: AdapterId, work: Distillation, reference: Path | None, *, tenant: str = ""
    ) -> Distilled:
        losses: dict[int, float] = {}
        for part in await self._go(partial(self._use, adapter, "distil", adapter, work, reference)):
            losses |= part
        return summed_up(work, [losses[number] for number in range(len(work.data))])

    async def drop(self, adapter: AdapterId) -> None:
        await self._go(partial(self._drop, adapter))

    async def move(self) -> None:
        """End the gang between two calls and start another, which may find itself elsewhere; the adapters are gone."""
        await self._go(self._again)

    async def census(self) -> list[Census]:
        """How much of the base each rank holds."""
        return await self._go(partial(self._call, "census"))

    async def look(self) -> list[dict[str, Any]]:
        """Where each rank is; `term` counts the gangs."""
        gang, term = self._gang, self.generation
        ranks = await asyncio.to_thread(gang.crew.look) if gang else []
        name = self._plan.folder.name
        return [{"post": f"{name} trainer rank {rank}", "term": term, **one} for rank, one in enumerate(ranks)]

    async def _go(self, action: Any) -> Any:
        # Shielded: a caller that goes away must not leave the ranks with half a call.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._queue, action))

    def _run(self, work: Pass) -> PassResult:
        self._check(work.adapter)
        try:
            answers = self._call("run", [work])
        except Broken as failure:
            return PassResult(failure=failure)
        return together(self._config, work, [answer for (answer,) in answers])

    def _use(self, adapter: AdapterId, method: str, *args: Any, **named: Any) -> list[Any]:
        self._check(adapter)
        return self._call(method, *args, **named)

    def _make(self, adapter: AdapterId, method: str, *args: Any, **named: Any) -> None:
        self._call(method, *args, **named)
        self._known.add(adapter)
        self._lost.discard(adapter)

    def _drop(self, adapter: AdapterId) -> None:
        self._known.discard(adapter)
        self._lost.discard(adapter)
        if self._gang and self._gang.alive:
            self._call("drop", adapter)

    def _check(self, adapter: AdapterId) -> None:
        if adapter in self._lost:
            raise Lost(
                f"The trainer's processes were started anew and have no adapter {adapter} yet",
                hint="Load its last checkpoint and go on from there.",
            )

    def _call(self, method: str, *args: Any, **named: Any) -> list[Any]:
        gang = self._begin()
        try:
            return gang.call(method, *args, deadline=self.deadline, **named)
        finally:
            if not gang.alive:
                self._forget()

    def _forget(self) -> None:
        self._lost |= self._known
        self._known.clear()

    def _again(self) -> None:
        self._end()
        self._forget()
        self._begin()

    def _begin(self) -> Gang:
        if self._gang is None or not self._gang.alive:
            self._gang = self._start(self._plan, _STARTING)
            self.generation += 1
        return self._gang

    def _end(self) -> None:
        if self._gang:
            self._gang.end()
