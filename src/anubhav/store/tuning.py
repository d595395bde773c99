"""Rows of fine-tuning jobs, of what happened in them and of the models that came of them."""

from collections.abc import Callable, Sequence

import msgspec

from anubhav.store.connection import Connection, Row
from anubhav.types.ids import RunId
from anubhav.types.tuning import ENDED, JobEvent, TunedModel, TuningJob

_ENDED = ", ".join(f"'{state}'" for state in sorted(ENDED))


def put_job(connection: Connection, job: TuningJob) -> None:
    connection.execute(
        "INSERT INTO tuning_jobs (id, tenant, state, run, training, validation, body) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
        (
            job.id, job.tenant, job.state, job.run, job.training.digest,
            job.validation.digest if job.validation else None, msgspec.json.encode(job).decode(),
        ),
    )  # fmt: skip


def find_job(connection: Connection, tenant: str, job: str) -> TuningJob | None:
    row = connection.execute("SELECT body FROM tuning_jobs WHERE id = ? AND tenant = ?", (job, tenant)).fetchone()
    return _job(row) if row else None


def page(
    connection: Connection, tenant: str, after: str | None, limit: int, wanted: Callable[[TuningJob], bool]
) -> Sequence[TuningJob]:
    """Newest first, behind `after`."""
    rows = connection.execute(
        "SELECT body FROM tuning_jobs WHERE tenant = ?"
        " AND (? IS NULL OR seq < (SELECT seq FROM tuning_jobs WHERE id = ? AND tenant = ?)) ORDER BY seq DESC",
        (tenant, after, after, tenant),
    )
    found: list[TuningJob] = []
    for job in map(_job, rows):
        if wanted(job):
            found.append(job)
        if len(found) == limit:
            break
    return found


def unfinished(connection: Connection) -> list[TuningJob]:
    """Oldest first; paused ones are no work."""
    rows = connection.execute(f"SELECT body FROM tuning_jobs WHERE state NOT IN ({_ENDED}, 'paused') ORDER BY seq")
    return [_job(row) for row in rows]


def left_open(connection: Connection) -> list[tuple[str, RunId]]:
    """(tenant, run) of jobs that ended while their run did not."""
    rows = connection.execute(
        "SELECT runs.tenant, runs.id FROM tuning_jobs JOIN runs ON runs.id = tuning_jobs.run"
        f" WHERE state IN ({_ENDED}) AND ended = 0"
    )
    return [(row["tenant"], RunId(row["id"])) for row in rows]


def add_event(connection: Connection, job: str, event: JobEvent) -> None:
    """Unless one of this key was told."""
    connection.execute(
        "INSERT INTO tuning_events (id, job, key, body) VALUES (?,?,?,?) ON CONFLICT (job, key) DO NOTHING",
        (event.id, job, event.key, msgspec.json.encode(event).decode()),
    )


def events(connection: Connection, job: str, after: str | None, limit: int) -> list[JobEvent]:
    """Newest first, behind `after`."""
    rows = connection.execute(
        "SELECT body FROM tuning_events WHERE job = ?"
        " AND (? IS NULL OR seq < (SELECT seq FROM tuning_events WHERE id = ? AND job = ?)) ORDER BY seq DESC LIMIT ?",
        (job, after, after, job, limit),
    )
    return [msgspec.json.decode(row["body"], type=JobEvent) for row in rows]


def add_model(connection: Connection, model: TunedModel) -> None:
    """Unless the name is there."""
    connection.execute(
        "INSERT INTO tuned_models (name, tenant, path, job, body) VALUES (?,?,?,?,?) ON CONFLICT (name) DO NOTHING",
        (model.name, model.tenant, model.path, model.job, msgspec.json.encode(model).decode()),
    )


def find_model(connection: Connection, tenant: str, name: str) -> TunedModel | None:
    query = "SELECT body FROM tuned_models WHERE name = ? AND tenant = ?"
    row = connection.execute(query, (name, tenant)).fetchone()
    return _model(row) if row else None


def models(connection: Connection, tenant: str, job: str | None = None) -> list[TunedModel]:
    """Newest first; of one job when it is given. Without those whose checkpoint is gone."""
    rows = connection.execute(
        "SELECT body FROM tuned_models WHERE tenant = ? AND job = coalesce(?, job)"
        " AND path IN (SELECT path FROM checkpoints) ORDER BY seq DESC",
        (tenant, job),
    )
    return [_model(row) for row in rows]


def drop_model(connection: Connection, name: str) -> str | None:
    """Returns its checkpoint's path when nothing else answers with that."""
    row = connection.execute("DELETE FROM tuned_models WHERE name = ? RETURNING path", (name,)).fetchone()
    shared = row and connection.execute("SELECT 1 FROM tuned_models WHERE path = ?", (row["path"],)).fetchone()
    return row["path"] if row and not shared else None


def _job(row: Row) -> TuningJob:
    return msgspec.json.decode(row["body"], type=TuningJob)


def _model(row: Row) -> TunedModel:
    return msgspec.json.decode(row["body"], type=TunedModel)
