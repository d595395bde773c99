"""The turnstile of one run: operations may arrive in any order, they are applied in sequence, one at a time.

It begins by bringing the trainer to where the journal left the run: newest sound snapshot, then replay, which changes
no stored result. Runs take turns because each has at most one operation before its trainer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anubhav.errors import AnubhavError, Broken, Unavailable
from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import OpRow, RunRow
from anubhav.training.bench import Bench, Deed
from anubhav.training.checkpoints import Checkpoints
from anubhav.training.promises import Promises, write_outcome
from anubhav.training.snapshots import Snapshots

_PAUSE = 1.0
"""Seconds between attempts while the disk is full."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Turnstile:
    def __init__(
        self,
        run: RunRow,
        bench: Bench,
        snapshots: Snapshots,
        database: Database,
        checkpoints: Checkpoints,
        promises: Promises,
    ) -> None:
        self._run, self._bench, self._snapshots = run, bench, snapshots
        self._database, self._checkpoints, self._promises = database, checkpoints, promises
        self._held: dict[int, OpRow] = {}
        self._next = 0
        self._damage: Broken | None = None
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._serve(), name=f"turnstile {run.id}")

    @property
    def stopped(self) -> bool:
        return self._task.done()

    def offer(self, op: OpRow) -> None:
        """Hand in a journalled operation. Offering one that was applied or is held already changes nothing."""
        if op.state == "pending" and op.seq >= self._next:
            self._held[op.seq] = op
            self._arrived.set()

    async def stop(self) -> None:
        """Leave what is pending to the journal."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._snapshots.stop()

    async def _serve(self) -> None:
        try:
            await self._insist(self._restore)
            while True:
                while op := self._held.get(self._next):
                    await self._apply(op)
                self._arrived.clear()
                await self._arrived.wait()
        except Exception:
            log.exception("run %s cannot go on; its journal is kept", self._run.id)

    async def _restore(self) -> None:
        try:
            start = await self._snapshots.restore()
            for op in await self._database.run(lambda c: runs.ops_from(c, self._run.id, start)):
                if op.state == "pending":
                    self._held.setdefault(op.seq, op)
                    continue
                await self._bench.replay(op)
                if op.kind == "Step":
                    self._snapshots.count_step()
        except Broken as damage:
            log.error("run %s cannot be restored: %s", self._run.id, damage)
            self._damage = damage
        settled = await self._database.run(lambda c: runs.last_settled(c, self._run.id))
        self._next = settled + 1
        for seq in [seq for seq in self._held if seq < self._next]:
            del self._held[seq]

    async def _apply(self, op: OpRow) -> None:
        deed = Deed(self._damage) if self._damage else await self._insist(lambda: self._bench.attempt(op))
        state = "failed" if isinstance(deed.outcome, AnubhavError) else "done"
        result = write_outcome(deed.outcome)

        def settle(connection: Connection) -> None:
            runs.settle_op(connection, op.run, op.seq, state, result)
            if deed.record:
                deed.record(connection)

        await self._insist(lambda: self._database.run(settle))
        self._promises.keep(op.promise, deed.outcome)
        del self._held[op.seq]
        self._next = op.seq + 1
        if deed.obsolete:
            await self._checkpoints.drop_folder(deed.obsolete)
        if op.kind == "Step":
            self._snapshots.count_step()
            if state == "done":
                await self._snapshots.follow_step(op.seq)

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """What is acknowledged waits for a full disk rather than fail; on the way down, for the cancellation."""
        while True:
            try:
                return await work()
            except Unavailable as problem:
                log.warning("run %s waits: %s", self._run.id, problem)
                await asyncio.sleep(_PAUSE)
