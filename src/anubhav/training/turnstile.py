"""The turnstile of one run: operations may arrive in any order, they are applied in sequence, one at a time.

It begins by bringing the trainer to where the journal left the run: newest sound snapshot, then replay, which changes
no stored result. Runs take turns because each has at most one operation before its trainer. A run that rests is parked:
it leaves the trainer's memory, and whoever asks for it again makes another turnstile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

from anubhav.errors import AnubhavError, Broken, Lost, Unavailable
from anubhav.ports import Trainer
from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import OpRow, RunRow
from anubhav.telemetry.metrics import count_operation
from anubhav.telemetry.notes import noting
from anubhav.training.bench import Bench, Deed
from anubhav.training.checkpoints import Checkpoints
from anubhav.training.promises import Promises, read_outcome, write_outcome
from anubhav.training.refusals import REFUSAL, VOID, fill_gap
from anubhav.training.snapshots import Snapshots
from anubhav.types.ids import AdapterId, RunId

_PAUSE = 1.0
"""Seconds between attempts while the disk is full."""
_PATIENCE, _SOON = 30.0, 3.0
"""Seconds for a missing operation to arrive before those behind it go on without it. The SDK sends the first chunk of a
pass behind its others; anything else only once all before it was answered, so then what is missing never comes.
"""
_DEATHS = 4
"""Of trainers, at one operation: then it is what they die of."""
_CHUNKS = ("Compute", REFUSAL)
_WITHOUT_GRADIENT = ("Create", "Load", "Step")
"""After these a snapshot holds all there is of a run; after a pass the journal has the rest."""

_START_AGAIN = "The server's log says why. Open another run from its last checkpoint."

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
        told: Callable[[RunId], None],
    ) -> None:
        """`told` is called with the run whenever an operation has its outcome."""
        self.run, self._told = run, told
        self._bench, self._snapshots = bench, snapshots
        self.at_work: int | None = None
        """The number of the operation that is at its trainer."""
        self._database, self._checkpoints, self._promises = database, checkpoints, promises
        self._held: dict[int, OpRow] = {}
        self._next = 0
        self._damage: Broken | None = None
        self._last = ""
        """The kind of what was done last, and left a trace."""
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._noted(), name=f"turnstile {run.id}")

    @property
    def stopped(self) -> bool:
        return self._task.done()

    @property
    def held(self) -> list[int]:
        """The numbers of the operations that have no outcome yet, of those that may still have one."""
        return [seq for seq, op in self._held.items() if op.kind not in (VOID, REFUSAL)]

    @property
    def due(self) -> bool:
        """Whether what comes next is here; otherwise what is held waits for an operation that has not arrived."""
        return self._next in self._held

    @property
    def trainer(self) -> Trainer:
        return self._bench.trainer

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

    async def _noted(self) -> None:
        # The task would go on under the notes of the request that happened to begin it.
        with noting(run=self.run.id, tenant=self.run.tenant, model=self.run.base_model):
            await self._serve()

    async def _serve(self) -> None:
        await self._insist(self._restore)
        while True:
            try:
                while op := self._due():
                    await self._apply(op)
                self._arrived.clear()
                if await self._arrival():
                    continue
                if self._held:
                    await self._pass_over()
                elif await self._park():
                    return
            except Exception:
                log.exception("run %s cannot go on", self.run.id)
                if self._damage:
                    await asyncio.sleep(_PAUSE)  # not even its failures can be stored now
                self._damage = Broken(
                    f"This run cannot go on, as its operation {self._next} could not be done", hint=_START_AGAIN
                )

    def _due(self) -> OpRow | None:
        op = self._held.get(self._next)
        # A void is passed over for what comes behind it; until then its number may be used again.
        return None if op and op.kind == VOID and max(self._held) == op.seq else op

    async def _arrival(self) -> bool:
        """False: what is held has waited long enough for an operation before it, or the run has rested long enough."""
        patience = None if self._held else self._snapshots.rest
        if self._held and self._next not in self._held:
            patience = _PATIENCE if all(op.kind in _CHUNKS for op in self._held.values()) else _SOON
        try:
            async with asyncio.timeout(patience):  # wait_for can lose the cancellation that stops a run
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    async def _pass_over(self) -> None:
        """Go on without what did not arrive; from here on it is refused."""
        missing = range(self._next, min(self._held))
        log.warning("run %s goes on: operations %d to %d never arrived", self.run.id, missing[0], missing[-1])
        came = await self._insist(lambda: self._database.run(lambda c: fill_gap(c, self.run.id, missing)))
        if came:
            self._held[came.seq] = came
        self._next = min(self._held)

    async def _park(self) -> bool:
        """Leave the trainer's memory to those at work. False: something arrived meanwhile."""
        if self._last in _WITHOUT_GRADIENT and not self._damage:
            await self._snapshots.keep(self._next - 1)
        await self._insist(lambda: self._bench.trainer.drop(AdapterId(self.run.id)))
        if not self._held:
            return True
        await self._insist(self._restore)
        return False

    async def _restore(self) -> None:
        try:
            start = await self._snapshots.restore()
            for op in await self._database.run(lambda c: runs.ops_from(c, self.run.id, start)):
                if op.state == "pending":
                    self._held.setdefault(op.seq, op)
                    continue
                await self._bench.replay(op)
                self._note(op)
                if op.kind == "Step":
                    self._snapshots.count_step()
        except Unavailable:
            raise
        except Exception as problem:
            log.exception("run %s cannot be restored", self.run.id)
            unknown = Broken("This run could not be brought back", hint=_START_AGAIN)
            self._damage = problem if isinstance(problem, Broken) else unknown
        settled = await self._database.run(lambda c: runs.last_settled(c, self.run.id))
        self._next = settled + 1
        for seq in [seq for seq in self._held if seq < self._next]:
            del self._held[seq]

    def _note(self, op: OpRow) -> None:
        if op.kind not in ("Save", VOID, REFUSAL):
            self._last = op.kind

    async def _apply(self, op: OpRow) -> None:
        if op.kind in (VOID, REFUSAL):
            await self._settle(op, Deed(read_outcome(op.body)))
            return
        self.at_work, begun = op.seq, perf_counter()
        try:
            deed = Deed(self._damage) if self._damage else await self._insist(lambda: self._attempt(op))
        finally:
            self.at_work = None
        failed, seconds = isinstance(deed.outcome, AnubhavError), perf_counter() - begun
        await self._settle(op, deed)
        count_operation(self.run.base_model, op.kind, failed=failed, seconds=seconds)
        self._note(op)
        if deed.unsure:
            await self._insist(self._restore)
        if deed.obsolete:
            await self._checkpoints.drop_folder(deed.obsolete)
        if op.kind == "Step":
            self._snapshots.count_step()
            if not failed:
                await self._snapshots.follow_step(op.seq)

    async def _attempt(self, op: OpRow) -> Deed:
        """A trainer that died on it did nothing that counts: another is brought to where the journal stands."""
        for _ in range(_DEATHS):
            try:
                return await self._bench.attempt(op)
            except Lost as problem:
                log.warning("run %s is brought back: %s", self.run.id, problem)
                await self._insist(self._restore)
        return Deed(
            Broken(f"The trainer died {_DEATHS} times at this operation", hint="Send fewer or shorter data at a time.")
        )

    async def _settle(self, op: OpRow, deed: Deed) -> None:
        state = "failed" if isinstance(deed.outcome, AnubhavError) else "done"
        result = write_outcome(deed.outcome)

        def settle(connection: Connection) -> OpRow | None:
            if op.kind == VOID and (found := runs.find_op(connection, op.run, op.seq)) and found.promise != op.promise:
                return found
            runs.settle_op(connection, op.run, op.seq, state, result)
            if deed.record:
                deed.record(connection)
            return None

        if instead := await self._insist(lambda: self._database.run(settle)):
            self._held[op.seq] = instead
            return
        self._promises.keep(op.promise, deed.outcome)
        self._told(self.run.id)
        del self._held[op.seq]
        self._next = op.seq + 1

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """What is acknowledged waits for a full disk rather than fail; on the way down, for the cancellation."""
        while True:
            try:
                done = await work()
            except Unavailable as problem:
                log.warning("run %s waits: %s", self.run.id, problem)
                self._promises.tell_hitch(self.run.id, str(problem))
                await asyncio.sleep(_PAUSE)
            else:
                self._promises.tell_hitch(self.run.id, None)
                return done
