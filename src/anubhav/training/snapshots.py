"""Snapshots of a run: adapter and optimizer at a moment without a waiting gradient, so that replay stays short.

The trainer writes one between two operations; making it durable goes on behind the operations that follow.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anubhav.errors import Broken
from anubhav.ports import Trainer
from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import SnapshotRow
from anubhav.training.checkpoints import Checkpoints
from anubhav.types.ids import AdapterId, RunId

_KEPT = 2

Record = Callable[[Connection], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """A snapshot is due after so many steps, or at the first step after so many seconds."""

    steps: int = 20
    seconds: float = 60.0
    rest: float = 600.0
    """Seconds without an operation after which a run is parked."""


class Snapshots:
    def __init__(self, run: RunId, trainer: Trainer, database: Database, checkpoints: Checkpoints, pace: Pace) -> None:
        self._run, self._trainer, self._pace = run, trainer, pace
        self._database, self._checkpoints = database, checkpoints
        self._steps, self._since = 0, time.monotonic()
        self._publishing: asyncio.Task[None] | None = None

    async def restore(self) -> int:
        """Load the newest sound snapshot; returns the first sequence number that is not in it."""
        for row in await self._database.run(lambda c: runs.snapshots(c, self._run)):
            try:
                await asyncio.to_thread(self._checkpoints.verify, row.folder, row.manifest)
                await self._trainer.load(AdapterId(self._run), self._checkpoints.path_of(row.folder), optimizer=True)
                return row.seq + 1
            except Broken as problem:
                log.warning("run %s: a snapshot is damaged, trying the one before: %s", self._run, problem)
        return 0

    async def take(self, seq: int) -> Record | None:
        """Write one now; returns what makes it count, for the transaction that stores the result of `seq`."""
        try:
            folder, manifest, _ = await self._checkpoints.write("snapshots", self._save)
        except Exception as problem:  # noqa: BLE001 - see _go_on
            self._go_on(problem)
            return None
        return self._record(seq, folder, manifest)

    @property
    def rest(self) -> float:
        return self._pace.rest

    async def keep(self, seq: int) -> None:
        """Write one now that counts at once, unless the newest one is as new."""
        if self._publishing:
            await asyncio.wait([self._publishing])
        newest = await self._database.run(lambda c: runs.snapshots(c, self._run))
        if newest and newest[0].seq == seq:
            return
        try:
            await self._publish(seq, await self._checkpoints.draft("snapshots", self._save))
        except Exception as problem:  # noqa: BLE001 - see _go_on
            self._go_on(problem)

    def count_step(self) -> None:
        self._steps += 1

    async def follow_step(self, seq: int) -> None:
        """Begin a snapshot when one is due. Failing to is no failure of the run."""
        due = self._steps >= self._pace.steps or time.monotonic() - self._since >= self._pace.seconds
        if not due or (self._publishing and not self._publishing.done()):
            return
        self._steps, self._since = 0, time.monotonic()
        try:
            draft = await self._checkpoints.draft("snapshots", self._save)
        except Exception as problem:  # noqa: BLE001 - see _go_on
            self._go_on(problem)
        else:
            self._publishing = asyncio.create_task(self._publish(seq, draft))

    def _go_on(self, problem: Exception) -> None:
        """Without a snapshot: the journal still has everything."""
        log.warning("run %s goes on without a snapshot: %s", self._run, problem)

    async def stop(self) -> None:
        if self._publishing:
            self._publishing.cancel()
            await asyncio.gather(self._publishing, return_exceptions=True)

    async def _save(self, to: Path) -> None:
        await self._trainer.save(AdapterId(self._run), to, optimizer=True)

    async def _publish(self, seq: int, draft: Path) -> None:
        try:
            folder, manifest, _ = await self._checkpoints.publish(draft)
            await self._database.run(self._record(seq, folder, manifest))
            for old in await self._database.run(self._forget):
                await self._checkpoints.drop_folder(old)
        except Exception as problem:  # noqa: BLE001 - see _go_on
            self._go_on(problem)

    def _record(self, seq: int, folder: str, manifest: dict[str, str]) -> Record:
        return lambda connection: runs.add_snapshot(connection, SnapshotRow(self._run, seq, folder, manifest))

    def _forget(self, connection: Connection) -> list[str]:
        """Drop all but the newest snapshots and the bodies no replay will need; returns folders to remove."""
        rows = runs.snapshots(connection, self._run)
        let_go: list[str] = []
        if len(rows) >= _KEPT:
            runs.empty_bodies(connection, self._run, rows[_KEPT - 1].seq)
            let_go += runs.unpin(connection, self._run, rows[_KEPT - 1].seq)
        for old in rows[_KEPT:]:
            runs.drop_snapshot(connection, self._run, old.seq)
        return [*let_go, *(old.folder for old in rows[_KEPT:])]
