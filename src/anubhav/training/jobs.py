"""The book of fine-tuning jobs: each is rows, so it outlives the server; a task does it while it is neither over nor
paused. A tenant's jobs take turns.

Whoever does a job again from its beginning is told nothing new of what was done: the run's journal has the results, and
events and models have names. So a pause is the end of the task, and a restart is like the end of a pause.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from anubhav.errors import AnubhavError, BadInput, Busy, NotFound, Spent, Unavailable
from anubhav.store import tuning
from anubhav.store.database import Connection, Database
from anubhav.training.desk import Desk
from anubhav.training.uploads import Uploads
from anubhav.types.ids import RunId, new_id
from anubhav.types.tuning import ENDED, JobEvent, JobFailure, JobState, TunedModel, TuningJob

_PAUSE = 5.0
"""Seconds between attempts while a queue or the disk is full."""
Work = Callable[[TuningJob], Awaitable[None]]
log = logging.getLogger(__name__)


class BadFile(BadInput):
    """A training or validation file that cannot be learned from."""

    def __init__(self, message: str, *, hint: str = "", param: str = "training_file") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class JobBook:
    def __init__(self, database: Database, desk: Desk, uploads: Uploads) -> None:
        self._database, self._desk, self._uploads = database, desk, uploads
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def recover(self, work: Work) -> None:
        """Go on with what was under way when the server ended; paused jobs rest on."""
        for tenant, run in await self._database.run(tuning.left_open):
            await self._end(tenant, run)
        for job in await self._database.run(tuning.unfinished):
            self.start(job, work)

    async def open(self, job: TuningJob, work: Work) -> None:
        """Keep the job and begin it."""

        def keep(connection: Connection) -> None:
            tuning.put_job(connection, job)
            tuning.add_event(connection, job.id, _event("created", f"Created fine-tuning job: {job.id}"))

        await self._database.run(keep)
        self.start(job, work)

    def start(self, job: TuningJob, work: Work) -> None:
        """Do a job that is kept, in the background; a failure is written into it."""
        self._tasks[job.id] = asyncio.create_task(self._guard(job, work), name=job.id)

    def turn(self, tenant: str) -> asyncio.Lock:
        """To be held while a job trains: one of a tenant's at a time, in the order of their asking."""
        return self._turns[tenant]

    async def move(self, job: TuningJob, state: JobState, message: str, **changes: Any) -> TuningJob:
        """The job in another state, told in the same transaction. What ended stays as it ended."""

        def turn(connection: Connection) -> TuningJob:
            found = tuning.find_job(connection, job.tenant, job.id)
            assert found is not None
            if found.state in ENDED:
                return found
            ended = time.time() if state in ENDED else None
            moved = replace(found, state=state, finished_at=ended, **changes)
            tuning.put_job(connection, moved)
            if found.state != state:
                level = "error" if state == "failed" else "info"
                tuning.add_event(connection, job.id, replace(_event(new_id("told"), message), level=level))
            return moved

        moved = await self._database.run(turn)
        if moved.state in ENDED:
            await self._end(job.tenant, job.run)
            await self._uploads.let_go(*(one.digest for one in (job.training, job.validation) if one))
        return moved

    async def tell(self, job: TuningJob, key: str, message: str, **metrics: float) -> None:
        """An event; with numbers it is one of metrics."""
        event = replace(_event(key, message), data=metrics)
        await self._database.run(lambda c: tuning.add_event(c, job.id, event))

    async def warn(self, job: TuningJob, message: str) -> None:
        event = replace(_event(new_id("told"), message), level="warn")
        await self._database.run(lambda c: tuning.add_event(c, job.id, event))

    async def serve(self, job: TuningJob, *models: TunedModel) -> None:
        """From now on these names answer."""

        def add(connection: Connection) -> None:
            for model in models:
                tuning.add_model(connection, model)
                kind = f"Checkpoint created at step {model.step}" if model.id else "New fine-tuned model created"
                message = f"{kind}: {model.name}"
                tuning.add_event(connection, job.id, _event(f"served {model.name}", message))

        await self._database.run(add)

    async def pause(self, tenant: str, name: str) -> TuningJob:
        """It keeps all it learned; what its run has been handed is still done. Raises BadInput when it has ended."""
        job = await self._live(tenant, name)
        await self._halt(job.id)
        return await self.move(job, "paused", "The job was paused")

    async def resume(self, tenant: str, name: str, work: Work) -> TuningJob:
        """Raises BadInput for a job that is not paused."""
        job = await self.find(tenant, name)
        if job.state != "paused":
            raise BadInput(f"{job.id} is {job.state}", hint="Only a paused job can be resumed.")
        job = await self.move(job, "queued", "The job was resumed")
        await self._halt(job.id)  # one that paused itself may not have ended yet
        self.start(job, work)
        return job

    async def cancel(self, tenant: str, name: str) -> TuningJob:
        """Its checkpoints stay. Raises BadInput when it has ended."""
        job = await self._live(tenant, name)
        await self._halt(job.id)
        return await self.move(job, "cancelled", "The job was cancelled")

    async def find(self, tenant: str, name: str) -> TuningJob:
        job = await self._database.run(lambda c: tuning.find_job(c, tenant, name))
        if job is None:
            raise NotFound(f"There is no job {name[:100]!r}", hint="List yours: GET /v1/fine_tuning/jobs.")
        return job

    async def page(
        self, tenant: str, after: str | None, limit: int, metadata: Mapping[str, str] | None = None
    ) -> Sequence[TuningJob]:
        """Newest first; with `metadata` those whose own has it all."""
        wanted = (metadata or {}).items()
        return await self._database.run(
            lambda c: tuning.page(c, tenant, after, limit, lambda job: wanted <= (job.metadata or {}).items())
        )

    async def events(self, tenant: str, name: str, after: str | None, limit: int) -> list[JobEvent]:
        """Newest first."""
        job = await self.find(tenant, name)
        return await self._database.run(lambda c: tuning.events(c, job.id, after, limit))

    async def checkpoints(self, tenant: str, name: str, after: str | None, limit: int) -> list[TunedModel]:
        """Newest first."""
        job = await self.find(tenant, name)
        found = [one for one in await self._database.run(lambda c: tuning.models(c, tenant, job.id)) if one.id]
        first = next((place for place, one in enumerate(found, start=1) if one.id == after), 0)
        return found[first : first + limit]

    async def forget(self, model: TunedModel) -> str | None:
        """The name answers no more. Returns its checkpoint's path when no other name leads there."""
        return await self._database.run(lambda c: tuning.drop_model(c, model.name))

    async def wait(self, job: TuningJob) -> TuningJob:
        """The job when its task has ended."""
        if task := self._tasks.get(job.id):
            await asyncio.wait([task])
        return await self.find(job.tenant, job.id)

    async def stop(self) -> None:
        """What is under way goes on at the next start."""
        for name in list(self._tasks):
            await self._halt(name)

    async def _live(self, tenant: str, name: str) -> TuningJob:
        job = await self.find(tenant, name)
        if job.state in ENDED:
            raise BadInput(f"{job.id} is {job.state}", hint="Only a job that has not ended can be changed.")
        return job

    async def _halt(self, name: str) -> None:
        if task := self._tasks.get(name):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _guard(self, job: TuningJob, work: Work) -> None:
        try:
            await self._insist(job, work)
        except Spent as problem:
            await self.warn(job, f"Paused: {problem}")
            await self.move(job, "paused", "The job was paused until there is room in the quota")
        except AnubhavError as problem:
            log.warning("%s failed: %s", job.id, problem)
            await self._fail(job, problem)
        except Exception as problem:
            log.exception("%s failed", job.id)
            await self._fail(job, problem)
        finally:
            del self._tasks[job.id]

    async def _end(self, tenant: str, run: RunId) -> None:
        await self._desk.finish_session(tenant, run.partition(":train:")[0], "the job ended")

    async def _insist(self, job: TuningJob, work: Work) -> None:
        while True:
            try:
                return await work(job)
            except (Busy, Unavailable) as problem:
                await self.warn(job, f"Waiting: {problem}")
                await asyncio.sleep(_PAUSE)
                job = await self.find(job.tenant, job.id)

    async def _fail(self, job: TuningJob, problem: Exception) -> None:
        failure = JobFailure("server_error", "An error of ours; the server's log says which")
        if isinstance(problem, AnubhavError):
            failure = JobFailure(type(problem).__name__, str(problem))
        if isinstance(problem, BadFile):
            failure = JobFailure(f"invalid_{problem.param}", str(problem), problem.param)
        await self.move(job, "failed", f"The job failed: {failure.message}", failure=failure)


def _event(key: str, message: str) -> JobEvent:
    return JobEvent(new_id("ftevent"), key, message, time.time())
