"""The desk: where every operation of every run is handed in, by an SDK or by our own learning loop.

An operation is checked, journalled, and only then answered with a promise. The same (run, seq) with the same body is
the same promise, never a second gradient.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from anubhav.errors import AnubhavError, BadInput, Busy, Gone, Mismatch, NotFound, Unavailable
from anubhav.ports import Trainer
from anubhav.store import checkpoints as shelf
from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import OpRow, RunRow, SessionRow
from anubhav.telemetry.notes import note
from anubhav.training.accounts import Accounts
from anubhav.training.bench import Bench, name_taken
from anubhav.training.blends import Blends
from anubhav.training.checkpoints import Checkpoints
from anubhav.training.copies import Copy, copy
from anubhav.training.distilling import with_files
from anubhav.training.export import check_recipients
from anubhav.training.graphs import CustomLosses
from anubhav.training.imports import Imports
from anubhav.training.journal import rename_adapter, write_operation
from anubhav.training.limits import Limits, check
from anubhav.training.promises import Promises, write_outcome
from anubhav.training.quotas import check_quota
from anubhav.training.refusals import FINAL, REFUSAL, VOID, is_open, stand_in
from anubhav.training.sessions import Sessions
from anubhav.training.snapshots import Pace, Snapshots
from anubhav.training.standing import Standing, census, stand
from anubhav.training.turnstile import Turnstile
from anubhav.types.checkpoints import TinkerPath, checked_ttl
from anubhav.types.ids import AdapterId, RunId, new_id
from anubhav.types.operations import Create, Distil, Load, Operation, Save
from anubhav.types.training import LoraSpec

_SWEEP = 60.0
"""Seconds between looks for expired checkpoints; nobody finds them in between."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunInfo:
    id: RunId
    session: str
    tenant: str
    base_model: str
    spec: LoraSpec
    metadata: Mapping[str, str]
    created_at: float
    used_at: float


class Desk:
    def __init__(
        self,
        database: Database,
        trainers: Mapping[str, Trainer],
        folder: Path,
        limits: Limits,
        *,
        pace: Pace = Pace(),
    ) -> None:
        """`trainers` by base model; `folder` is the data folder."""
        self.promises = Promises(database)
        self.checkpoints = Checkpoints(database, folder)
        self.imports = Imports(database, trainers, self.checkpoints, limits)
        self.blends = Blends(database, trainers, self.checkpoints, limits)
        self.sessions = Sessions(database)
        self.losses = CustomLosses(database)
        self.accounts = Accounts(database, self.checkpoints)
        self._database, self._trainers, self._limits, self._pace = database, trainers, limits, pace
        self._turnstiles: dict[RunId, Turnstile] = {}
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def awake(self) -> int:
        """How many runs are in their trainers' memory, or on their way there."""
        return sum(not turnstile.stopped for turnstile in self._turnstiles.values())

    @property
    def queue(self) -> Mapping[str, int]:
        """Operations without an outcome, by what they wait for (training.standing)."""
        return census(self._turnstiles.values(), self.promises.hitch)

    def next_of(self, run: RunId) -> Standing | None:
        """Where the next operation of a run stands; None where none waits in this process."""
        found = self._turnstiles.get(run)
        if found is None or not found.held:
            return None
        return stand(self._turnstiles.values(), run, min(found.held), self.promises.hitch(run))

    async def recover(self) -> None:
        """Go on with every run that has work waiting; the others come back when they are asked for."""
        await self.checkpoints.sweep()
        self._sweeper = asyncio.create_task(self._sweep(), name="expired checkpoints")
        for run in await self._database.run(runs.waiting_runs):
            if run.base_model in self._trainers:
                self._turnstile(run)
            else:
                log.warning("run %s waits until the model %s is served again", run.id, run.base_model)

    async def stop(self) -> None:
        """What is pending stays in the journal."""
        if self._sweeper:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await asyncio.gather(*(turnstile.stop() for turnstile in self._turnstiles.values()))
        self._turnstiles.clear()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            try:
                await self.checkpoints.expire()
            except Unavailable as problem:
                log.warning("expired checkpoints wait: %s", problem)

    async def open_session(
        self, tenant: str, tags: list[str], metadata: Mapping[str, str], sdk: str, idempotency: str | None = None
    ) -> str:
        """A new session's id; the same idempotency key gives the same session."""
        key = f"{tenant}:{idempotency}" if idempotency else None
        session, details = new_id("ses"), (tags, dict(metadata), sdk)
        return await self._database.run(lambda c: runs.add_session(c, session, tenant, details, key))

    async def finish_session(self, tenant: str, session: str, reason: str, detail: str | None = None) -> None:
        """End every run of the session; nothing more is accepted in it. The first reason given counts."""
        await self._session(tenant, session)
        for run in await self._database.run(lambda c: runs.finish_session(c, session, reason, detail)):
            await self.end(tenant, RunId(run))

    async def submit(
        self,
        tenant: str,
        run: RunId,
        seq: int | None,
        operation: Operation,
        *,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> str:
        """The promise of this operation. Raises, and journals nothing, when it could never succeed.

        `seq` None: it stands behind everything received so far, and `key` tells when it is sent again.
        """
        if seq is not None and not 0 <= seq <= self._limits.max_seq:
            raise BadInput(f"The sequence number {seq} is out of range", hint="Number operations 1, 2, 3 …")
        operation = rename_adapter(operation, AdapterId(run))
        kind, body, digest = write_operation(operation)
        row, place, found = await self._database.run(
            lambda c: (runs.find_run(c, run), runs.place(c, run, seq), runs.find_sent(c, run, seq, key))
        )
        op = OpRow(run, place, kind, body, digest, new_id("tp"), "pending", None)
        if row is not None and found is not None and not is_open(found) and row.tenant == tenant:
            self._offer(row, found)
            return _same(found, op).promise
        row = (
            await self._open(tenant, run, operation, metadata or {})
            if seq == 0 and not row
            else _owned(row, tenant, run)
        )
        note(run=row.id, model=row.base_model)
        await self._check(tenant, row, place, operation)
        folder = None
        if isinstance(operation, Distil):
            operation = await with_files(operation, tenant, row, self.checkpoints)
            folder = operation.files and operation.files.folder
            op = replace(op, body=write_operation(operation)[1])

        def enter(connection: Connection) -> OpRow:
            return _enter(connection, row, op, _Sent(seq, key, folder, operation))

        entry = await self._database.run(enter)
        self._turnstile(row).offer(entry)
        return entry.promise

    async def standing(self, tenant: str, promise: str) -> Standing:
        """Where an operation stands whose promise was not kept yet."""
        op = await self._database.run(lambda c: runs.find_promise(c, tenant, promise))
        if op is None:
            raise NotFound("There is no such promise", hint="Ask with a request_id this server gave you.")
        return stand(self._turnstiles.values(), op.run, op.seq, self.promises.hitch(op.run))

    async def refuse(self, tenant: str, run: RunId, number: int, refusal: AnubhavError) -> str:
        """Let what comes behind this number pass it, as its operation was refused: raises `refusal`.

        Or returns a promise that fails by it, when the operation came before its predecessors.
        """
        row = await self._database.run(lambda c: runs.find_run(c, run))
        known = row is not None and row.tenant == tenant and not row.ended and row.source is None
        if row is None or not known or number < 1 or not isinstance(refusal, FINAL):
            raise refusal
        stand = await self._database.run(lambda c: stand_in(c, run, number, refusal))
        if stand:
            self._offer(row, stand.op)
            if stand.ahead:
                return stand.op.promise
        raise refusal

    async def run(self, tenant: str, run: RunId) -> RunInfo:
        return _info(await self._row(tenant, run))

    async def runs(self, tenant: str, project: str | None = None) -> list[RunInfo]:
        """Newest first; of one project when it is given."""
        return [_info(row) for row in await self._database.run(lambda c: runs.list_runs(c, tenant, project))]

    async def copy(self, wanted: Copy) -> str:
        """The path of a copy of a checkpoint that the caller has found readable."""
        checked_ttl(wanted.ttl)
        if wanted.source.kind == "external_weights":
            raise BadInput("External weights cannot be copied", hint="Copy weights or sampler_weights.")
        spare = new_id("ses")
        return await self._database.run(lambda c: copy(c, wanted, spare))

    async def unload(self, tenant: str, run: RunId) -> str:
        """End the run; returns the promise of its creation, whose outcome names the run that was let go."""
        row = await self._row(tenant, run)
        first = await self._database.run(lambda c: runs.find_op(c, run, 0))
        if first is None:
            raise BadInput(f"{run} only holds a checkpoint", hint="Delete its checkpoint instead.")
        if not row.ended:
            await self.end(tenant, run)
        return first.promise

    async def end(self, tenant: str, run: RunId) -> None:
        """Let the run go: its adapter leaves the trainer, its journal and checkpoints stay."""
        row = await self._row(tenant, run)
        if turnstile := self._turnstiles.pop(run, None):
            await turnstile.stop()
        ended = Gone("The run was ended before this operation", hint="Open another run from its last checkpoint.")
        for promise in await self._database.run(lambda c: runs.end_run(c, run, write_outcome(ended))):
            self.promises.keep(promise, ended)
        for folder in await self._database.run(lambda c: runs.unpin(c, run)):
            await self.checkpoints.drop_folder(folder)
        if trainer := self._trainers.get(row.base_model):
            await trainer.drop(AdapterId(run))

    async def _session(self, tenant: str, session: str) -> SessionRow:
        found = await self._database.run(lambda c: runs.find_session(c, session))
        if found is None or found.tenant != tenant:
            raise NotFound(f"There is no session {session[:100]}", hint="Create a session first.")
        return found

    async def _row(self, tenant: str, run: RunId) -> RunRow:
        return _owned(await self._database.run(lambda c: runs.find_run(c, run)), tenant, run)

    async def _open(self, tenant: str, run: RunId, operation: Operation, metadata: Mapping[str, str]) -> RunRow:
        """The row a first operation makes, not yet stored."""
        session, middle, number = run.rpartition(":train:")
        if not middle or not number.isdecimal():
            raise NotFound(f"There is no training run {run[:200]}", hint="Create one in a session.")
        if (await self._session(tenant, session)).finished is not None:
            raise Gone(f"The session {session} was finished", hint="Create another session.")
        if isinstance(operation, Create):
            base, spec = operation.base_model, operation.spec
        elif isinstance(operation, Load):
            checkpoint = await self.checkpoints.find(operation.reader or tenant, operation.path)
            base, spec = checkpoint.base_model, checkpoint.spec
            if not operation.optimizer:
                spec = replace(spec, optimizer=operation.family or "adamw")
        else:
            raise BadInput("A run begins with Create or Load", hint="Number other operations from 1.")
        now = time.time()
        return RunRow(run, session, tenant, base, spec, dict(metadata), now, now)

    async def _check(self, tenant: str, row: RunRow, seq: int, operation: Operation) -> None:
        if row.source is not None:
            raise BadInput(
                f"The run {row.id} only holds a copy, an import or a blend",
                hint="Open another run from its checkpoint.",
            )
        if row.ended:
            raise Gone(f"The run {row.id} was ended", hint="Open another run from its last checkpoint.")
        if seq > 0 and isinstance(operation, Create):
            raise BadInput("Only the first operation of a run can be Create", hint="Open another run.")
        if row.base_model not in self._trainers and not isinstance(operation, Create):
            raise NotFound(f"The model {row.base_model} is not served now", hint="Start the server with it.")
        check(operation, row.base_model, row.spec, self._limits)
        if isinstance(operation, Load):
            await self._check_load(tenant, row, operation)
        if isinstance(operation, Save):
            await self._check_save(row, operation)
        ahead = seq - await self._database.run(lambda c: runs.last_settled(c, row.id))
        if ahead > self._limits.max_pending:
            raise Busy(f"Operation {seq} is {ahead} ahead of the run", hint="Wait for some results first.")

    async def _check_load(self, tenant: str, row: RunRow, operation: Load) -> None:
        checkpoint = await self.checkpoints.find(operation.reader or tenant, operation.path)
        shape = replace(checkpoint.spec, seed=row.spec.seed, optimizer=row.spec.optimizer)
        if checkpoint.base_model != row.base_model or shape != row.spec:
            raise BadInput(f"{operation.path} does not fit this run's model and shape", hint="Open a run from it.")
        if checkpoint.path.kind == "external_weights":
            raise BadInput(f"{operation.path} can only be downloaded", hint="Load a checkpoint that is not external.")
        if operation.optimizer and not checkpoint.has_optimizer:
            raise BadInput(f"{operation.path} was saved without its optimizer", hint="Load a weights checkpoint.")
        if operation.optimizer and checkpoint.spec.optimizer != row.spec.optimizer:
            raise BadInput(
                f"{operation.path} holds {checkpoint.spec.optimizer}, this run's optimizer is {row.spec.optimizer}",
                hint="Open a run from it, or load it without its optimizer.",
            )

    async def _check_save(self, row: RunRow, operation: Save) -> None:
        checked_ttl(operation.ttl)
        check_recipients(operation.recipients)
        path = TinkerPath(row.id, operation.kind, operation.name)
        if not operation.overwrite and await self._database.run(lambda c: shelf.find(c, str(path))):
            raise name_taken(path)

    def _offer(self, row: RunRow, op: OpRow) -> None:
        """Hand in what is journalled, unless it has its outcome or cannot be done in this process."""
        if op.state == "pending" and not row.ended and row.base_model in self._trainers:
            self._turnstile(row).offer(op)

    def _turnstile(self, row: RunRow) -> Turnstile:
        known = self._turnstiles.get(row.id)
        if known and not known.stopped:
            return known
        trainer = self._trainers[row.base_model]
        snapshots = Snapshots(row.id, trainer, self._database, self.checkpoints, self._pace)
        bench = Bench(row, trainer, self._database, self.checkpoints, snapshots)
        made = Turnstile(row, bench, snapshots, self._database, self.checkpoints, self.promises)
        self._turnstiles[row.id] = made
        return made


def _owned(row: RunRow | None, tenant: str, run: RunId) -> RunRow:
    if row is None or row.tenant != tenant:
        raise NotFound(f"There is no training run {run[:200]}", hint="Create one, or list yours.")
    return row


def _same(found: OpRow, op: OpRow) -> OpRow:
    if found.kind == VOID:
        raise Mismatch(f"Operation {op.seq} was passed over: later ones had their turn", hint="Number it anew.")
    if found.kind != REFUSAL and found.digest != op.digest:
        raise Mismatch(
            f"Operation {op.seq} of this run was sent before with another content", hint="Give it a number of its own."
        )
    return found


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int | None
    key: str | None
    folder: str | None
    """What it reads, to be there for as long as it may be done again."""
    operation: Operation


def _enter(connection: Connection, row: RunRow, op: OpRow, sent: _Sent) -> OpRow:
    """Journal the operation in its place, or find the one that was sent before."""
    found = runs.find_sent(connection, op.run, sent.number, sent.key)
    if found and not is_open(found):
        return _same(found, op)
    if sent.folder and not shelf.named(connection, sent.folder):
        raise Busy("The reference was replaced at this moment", hint="Send the request again.")
    op = replace(op, seq=runs.place(connection, op.run, sent.number))
    check_quota(connection, row.tenant, op.run, op.seq, sent.operation)
    if op.seq == 0:
        runs.add_run(connection, row)
    elif op.seq <= runs.last_settled(connection, op.run):
        raise BadInput(f"Operation {op.seq} came too late: later ones had their turn", hint="Number it anew.")
    if found:
        runs.replace_op(connection, op)
    else:
        runs.add_op(connection, op)
    if sent.number is None:
        runs.let_in(connection, op.run, op.seq, sent.key or op.promise)
    if sent.folder:
        runs.pin(connection, op.run, op.seq, sent.folder)
    return op


def _info(row: RunRow) -> RunInfo:
    return RunInfo(row.id, row.session, row.tenant, row.base_model, row.spec, row.metadata, row.created_at, row.used_at)
