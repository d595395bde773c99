"""The bench of one run: does one operation on its trainer and says what came of it and what to write down with that.

What it raises was not done and may be tried again; every other failure is an outcome.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anubhav.errors import AnubhavError, BadInput, Broken, NotAllowed, Unavailable
from anubhav.ports import Trainer
from anubhav.store import checkpoints as shelf
from anubhav.store import samplers, usage
from anubhav.store.database import Connection, Database
from anubhav.store.runs import OpRow, RunRow
from anubhav.store.samplers import SamplerRow
from anubhav.telemetry.metrics import count_trained
from anubhav.training.checkpoints import Checkpoints, adapter_id
from anubhav.training.export import encrypt
from anubhav.training.journal import read_operation
from anubhav.training.promises import Created, Loaded, Outcome, Saved, Stepped, read_outcome
from anubhav.training.quotas import check_storage
from anubhav.training.snapshots import Snapshots
from anubhav.types.checkpoints import Checkpoint, TinkerPath
from anubhav.types.distilling import Distilled
from anubhav.types.ids import AdapterId
from anubhav.types.operations import Compute, Create, Distil, Load, Save, Step
from anubhav.types.training import PassResult

_START_AGAIN = "Open another run from its last checkpoint."

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deed:
    outcome: Outcome
    record: Callable[[Connection], None] | None = None
    """What belongs into the transaction that stores the outcome."""
    obsolete: str | None = None
    """A folder that nothing names once that is committed."""
    unsure: bool = False
    """The engine failed on the way, so where the trainer stands must come out of the journal."""


class Bench:
    def __init__(
        self, run: RunRow, trainer: Trainer, database: Database, checkpoints: Checkpoints, snapshots: Snapshots
    ) -> None:
        self._run, self.trainer, self._adapter = run, trainer, AdapterId(run.id)
        self._database, self._checkpoints, self._snapshots = database, checkpoints, snapshots

    async def replay(self, op: OpRow) -> None:
        """Bring the trainer to where this settled operation left it. Raises Broken if it cannot be done again."""
        if op.kind == "Save" or _left_no_trace(op):
            return
        if not op.body:
            raise Broken(f"The snapshots that held operation {op.seq} are damaged", hint=_START_AGAIN)
        operation = read_operation(op.kind, op.body)
        assert not isinstance(operation, Save)
        if isinstance(operation, Compute) and not operation.work.backward:
            return
        outcome = await self._try(self._do(operation))
        if isinstance(outcome, AnubhavError) != (op.state == "failed"):
            raise Broken(f"Operation {op.seq} did not end as it did before ({outcome})", hint=_START_AGAIN)

    async def attempt(self, op: OpRow) -> Deed:
        """Raises Unavailable, with nothing done, when the engine stops or the disk is full."""
        operation = read_operation(op.kind, op.body)
        if isinstance(operation, Save):
            saved = await self._try(self._save(operation))
            return Deed(saved) if isinstance(saved, AnubhavError) else saved
        outcome = await self._try(self._do(operation))
        if isinstance(outcome, PassResult) and isinstance(operation, Compute):
            tokens = sum(len(datum.tokens) for datum in operation.work.data)
            count_trained(self._run.base_model, tokens)
            return Deed(outcome, lambda c: usage.count_tokens(c, op.run, op.seq, tokens))
        if isinstance(outcome, Distilled) and isinstance(operation, Distil):
            tokens = sum(len(datum.tokens) + len(datum.reference_tokens) for datum in operation.work.data)
            count_trained(self._run.base_model, tokens)
            return Deed(outcome, lambda c: usage.count_tokens(c, op.run, op.seq, tokens))
        if isinstance(outcome, AnubhavError) or not isinstance(operation, Load):
            return Deed(outcome, unsure=isinstance(operation, Step) and isinstance(outcome, Broken))
        # With its snapshot a load needs no replay, which could meet a path overwritten since.
        return Deed(Created(self._run.id) if op.seq == 0 else outcome, await self._snapshots.take(op.seq))

    async def _try(self, work: Awaitable[T]) -> T | AnubhavError:
        try:
            return await work
        except Unavailable:
            raise
        except AnubhavError as failure:
            return failure
        except Exception as problem:
            log.exception("an operation of run %s failed", self._run.id)
            if isinstance(problem, MemoryError):
                return Broken("The server ran out of memory on this", hint="Send fewer or shorter data at a time.")
            return Broken("The engine could not do this operation", hint="The server's log says why.")

    async def _do(self, operation: Create | Load | Compute | Step | Distil) -> Outcome:
        match operation:
            case Create(_, spec):
                await self.trainer.create(self._adapter, spec)
                return Created(self._run.id)
            case Load(path, optimizer, _, reader):
                checkpoint = await self._checkpoints.find(reader or self._run.tenant, path)
                if optimizer and not checkpoint.has_optimizer:
                    raise BadInput(f"{path} was saved without its optimizer", hint="Load a weights checkpoint.")
                folder = await self._checkpoints.folder(checkpoint)
                await self.trainer.load(self._adapter, folder, optimizer=optimizer)
                return Loaded(path)
            case Compute(work):
                (result,) = await self.trainer.run([work], tenant=self._run.tenant)
                return result.failure or result
            case Distil(work, _, files):
                folder = None if files is None else await self._checkpoints.reopen(files)
                return await self.trainer.distil(self._adapter, work, folder, tenant=self._run.tenant)
            case Step(params):
                return Stepped(dict(await self.trainer.step(self._adapter, params)))

    async def _save(self, operation: Save) -> Deed:
        path = TinkerPath(self._run.id, operation.kind, operation.name)
        await self._checkpoints.expire()  # an expired one of this name would leave its files when it is replaced
        before = await self._database.run(lambda c: shelf.find(c, str(path)))
        if before and not operation.overwrite:
            raise name_taken(path)
        keep = operation.kind == "weights"

        async def write(to: Path) -> None:
            await self.trainer.save(self._adapter, to, optimizer=keep)
            if operation.recipients:
                await asyncio.to_thread(encrypt, to, operation.recipients)

        folder, manifest, size = await self._checkpoints.write("checkpoints", write)
        run, now = self._run, time.time()
        more = size - (before[0].size_bytes if before else 0)
        try:
            await self._database.run(lambda c: check_storage(c, run.tenant, more))
        except NotAllowed:
            await self._checkpoints.drop_folder(folder)
            raise
        row = Checkpoint(
            path,
            run.tenant,
            run.base_model,
            run.spec,
            adapter_id(manifest),
            folder,
            keep,
            size,
            now,
            expires_at=None if operation.ttl is None else now + operation.ttl,
            metadata=operation.metadata,
        )

        def record(connection: Connection) -> None:
            shelf.add(connection, row, manifest)
            if operation.sampler:
                source = run.id if operation.inflight else None
                opened = SamplerRow(operation.sampler, run.session, run.tenant, run.base_model, str(path), source)
                samplers.add(connection, opened)

        return Deed(Saved(str(path), operation.sampler), record, before[0].folder if before else None)


def _left_no_trace(op: OpRow) -> bool:
    """A failed step dropped its gradient, so it must be repeated, unless it was the engine that failed."""
    if op.state != "failed" or op.kind != "Step":
        return op.state == "failed"
    return op.result is not None and isinstance(read_outcome(op.result), Broken)


def name_taken(path: TinkerPath) -> BadInput:
    return BadInput(f"The checkpoint {path} exists already", hint="Choose another name, or overwrite it.")
