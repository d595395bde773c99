"""The turnstile of one run: operations may arrive in any order, they are applied in sequence, one at a time.

It begins by bringing the trainer to where the journal left the run: newest sound snapshot, then replay. Replay changes
no stored result. After a step it writes a snapshot now and then, while no gradient is waiting.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable

from anubhav.errors import AnubhavError, BadInput, Broken, NotFound, Unavailable
from anubhav.ports import Trainer
from anubhav.store import runs, samplers
from anubhav.store.database import Database
from anubhav.store.runs import OpRow, RunRow, SnapshotRow
from anubhav.store.samplers import SamplerRow
from anubhav.training.checkpoints import Checkpoints, adapter_id
from anubhav.training.journal import read_operation
from anubhav.training.promises import Created, Loaded, Outcome, Promises, Saved, Stepped, write_outcome
from anubhav.types.checkpoints import Checkpoint, Kind, TinkerPath
from anubhav.types.ids import AdapterId
from anubhav.types.operations import Compute, Create, Load, Operation, Save, Step

_SNAPSHOT_STEPS = 20
_SNAPSHOT_SECONDS = 60.0
_SNAPSHOTS_KEPT = 2

Extra = Callable[[sqlite3.Connection], None]
log = logging.getLogger(__name__)


class Turnstile:
    def __init__(
        self, run: RunRow, trainer: Trainer, database: Database, checkpoints: Checkpoints, promises: Promises
    ) -> None:
        self.run, self._trainer = run, trainer
        self._database, self._checkpoints, self._promises = database, checkpoints, promises
        self._adapter = AdapterId(run.id)
        self._held: dict[int, OpRow] = {}
        self._next = 0
        self._arrived = asyncio.Event()
        self._steps, self._saved_at = 0, time.monotonic()
        self._task = asyncio.create_task(self._serve(), name=f"turnstile {run.id}")

    def offer(self, op: OpRow) -> None:
        """Hand in a journalled operation. Offering one that was applied or is held already changes nothing."""
        if op.seq >= self._next:
            self._held[op.seq] = op
        self._arrived.set()

    async def stop(self) -> None:
        """Leave what is pending to the journal."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        try:
            await self._restore()
            while True:
                while op := self._held.pop(self._next, None):
                    await self._apply(op)
                    self._next += 1
                self._arrived.clear()
                if self._next not in self._held:
                    await self._arrived.wait()
        except Unavailable as problem:
            log.info("run %s pauses: %s", self.run.id, problem)
        except Exception:
            log.exception("run %s cannot go on; its journal is kept", self.run.id)
            raise

    async def _restore(self) -> None:
        start = await self._load_snapshot()
        ops = await self._database.run(lambda c: list(runs.ops_from(c, self.run.id, start)))
        self._next = start
        for op in ops:
            if op.state == "pending":
                self._held.setdefault(op.seq, op)
            elif op.seq == self._next:
                await self._replay(op)
                self._next += 1

    async def _load_snapshot(self) -> int:
        """Returns the first sequence number that is not in the trainer's state."""
        for snapshot in await self._database.run(lambda c: runs.snapshots(c, self.run.id)):
            try:
                await asyncio.to_thread(self._checkpoints.verify, snapshot.folder, snapshot.manifest)
                folder = self._checkpoints.path_of(snapshot.folder)
                await self._trainer.load(self._adapter, folder, optimizer=True)
                return snapshot.seq + 1
            except Broken as problem:
                log.warning("run %s: a snapshot is damaged, trying the one before: %s", self.run.id, problem)
        return 0

    async def _replay(self, op: OpRow) -> None:
        """Bring the trainer where this finished operation left it. Failed steps drop their gradient, so they count."""
        operation = read_operation(op.kind, op.body)
        passive = isinstance(operation, Save) or (isinstance(operation, Compute) and not operation.work.backward)
        if passive or (op.state == "failed" and not isinstance(operation, Step)):
            return
        outcome, _ = await self._attempt(op.seq, operation)
        if isinstance(outcome, AnubhavError) and op.state != "failed":
            raise Broken(f"Operation {op.seq} cannot be replayed: {outcome}")

    async def _apply(self, op: OpRow) -> None:
        operation = read_operation(op.kind, op.body)
        outcome, extra = await self._attempt(op.seq, operation)
        state = "failed" if isinstance(outcome, AnubhavError) else "done"
        result = write_outcome(outcome)

        def settle(connection: sqlite3.Connection) -> None:
            runs.settle_op(connection, op.run, op.seq, state, result)
            if extra:
                extra(connection)

        while True:
            try:
                await self._database.run(settle)
                break
            except Unavailable:
                await asyncio.sleep(1.0)  # a full disk: hold the result until there is room
        self._promises.keep(op.promise)
        await self._snapshot_now_and_then(op.seq, operation, state)

    async def _attempt(self, seq: int, operation: Operation) -> tuple[Outcome, Extra | None]:
        try:
            return await self._do(seq, operation)
        except Unavailable:
            raise
        except AnubhavError as failure:
            return failure, None
        except OSError as problem:
            log.error("run %s, operation %s: %s", self.run.id, seq, problem)
            return Broken("The files of this operation could not be written or read", hint="Is the disk full?"), None

    async def _do(self, seq: int, operation: Operation) -> tuple[Outcome, Extra | None]:
        match operation:
            case Create(_, spec):
                await self._trainer.create(self._adapter, spec)
                return Created(self.run.id), None
            case Load(path, optimizer):
                await self._load(path, optimizer=optimizer)
                return (Created(self.run.id) if seq == 0 else Loaded(path)), None
            case Compute(work):
                (result,) = await self._trainer.run([work])
                return result.failure or result, None
            case Step(params):
                return Stepped(dict(await self._trainer.step(self._adapter, params))), None
            case Save():
                return await self._save(operation)

    async def _load(self, path: str, *, optimizer: bool) -> None:
        checkpoint = await self._checkpoints.find(self.run.tenant, path)
        if optimizer and not checkpoint.has_optimizer:
            raise BadInput(
                f"{path} was saved without its optimizer", hint="Load it without, or load a weights checkpoint."
            )
        await self._trainer.load(self._adapter, await self._checkpoints.folder(checkpoint), optimizer=optimizer)

    async def _save(self, operation: Save) -> tuple[Outcome, Extra]:
        kind: Kind = "weights" if operation.kind == "weights" else "sampler_weights"
        path = TinkerPath(self.run.id, kind, operation.name)
        if not operation.overwrite and await self._exists(path):
            raise BadInput(f"The checkpoint {path} exists already", hint="Choose another name, or pass overwrite.")
        keep = kind == "weights"
        folder, manifest, size = await self._checkpoints.write(
            "checkpoints", lambda to: self._trainer.save(self._adapter, to, optimizer=keep)
        )
        run = self.run
        row = Checkpoint(
            path, run.tenant, run.base_model, run.spec, adapter_id(manifest), folder, keep, size, time.time()
        )

        def record(connection: sqlite3.Connection) -> None:
            runs.add_checkpoint(connection, row, manifest)
            if operation.sampler:
                samplers.add(
                    connection, SamplerRow(operation.sampler, run.session, run.tenant, run.base_model, str(path))
                )

        return Saved(str(path), operation.sampler), record

    async def _exists(self, path: TinkerPath) -> bool:
        try:
            return bool(await self._checkpoints.find(self.run.tenant, str(path)))
        except NotFound:
            return False

    async def _snapshot_now_and_then(self, seq: int, operation: Operation, state: str) -> None:
        self._steps += isinstance(operation, Step)
        due = self._steps >= _SNAPSHOT_STEPS or time.monotonic() - self._saved_at > _SNAPSHOT_SECONDS
        loaded = isinstance(operation, Load)
        if state != "done" or not (loaded or (due and isinstance(operation, Step))):
            return
        self._steps, self._saved_at = 0, time.monotonic()
        try:
            folder, manifest, _ = await self._checkpoints.write(
                "snapshots", lambda to: self._trainer.save(self._adapter, to, optimizer=True)
            )
            await self._database.run(lambda c: runs.add_snapshot(c, SnapshotRow(self.run.id, seq, folder, manifest)))
            await self._forget_older()
        except (OSError, AnubhavError) as problem:
            log.warning("run %s goes on without a snapshot: %s", self.run.id, problem)

    async def _forget_older(self) -> None:
        kept = await self._database.run(lambda c: runs.snapshots(c, self.run.id))
        if len(kept) < _SNAPSHOTS_KEPT:
            return

        def forget(connection: sqlite3.Connection) -> None:
            for old in kept[_SNAPSHOTS_KEPT:]:
                runs.drop_snapshot(connection, self.run.id, old.seq)
            runs.empty_bodies(connection, self.run.id, kept[_SNAPSHOTS_KEPT - 1].seq)

        await self._database.run(forget)
        for old in kept[_SNAPSHOTS_KEPT:]:
            await self._checkpoints.drop_folder(old.folder)
