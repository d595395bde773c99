"""Tuning: a fine-tuning job from its file to a model that answers, through the desk like any client's training.

`run_job` may be called again at any time: its operations are numbered, so the desk does each of them once.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from anubhav.errors import BadInput, NotAllowed, NotFound
from anubhav.flows.datasets import Dataset, read_rows
from anubhav.flows.house import House
from anubhav.flows.lessons import recipe
from anubhav.flows.tuning_lessons import Lesson, make_lesson
from anubhav.learning.courses import Course, plan_course
from anubhav.serving.voices import Voice
from anubhav.training.client import RunClient
from anubhav.training.jobs import BadFile
from anubhav.types.ids import RunId, new_id
from anubhav.types.tuning import Hyperparameters, Method, Source, TunedModel, TuningJob

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_COLUMNS = ("step", "train_loss", "valid_loss")

Row = Mapping[str, float]
"""What was measured at a step."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job is asked to be."""

    model: str
    training_file: str
    validation_file: str | None
    method: Method
    hyperparameters: Hyperparameters
    suffix: str = ""
    seed: int | None = None
    metadata: Mapping[str, str] | None = None


async def create_job(house: House, tenant: str, wanted: Wanted) -> TuningJob:
    """Raises NotFound for an unknown model or file, BadFile with the line for one that is not of the method's form."""
    voice = await house.voices.resolve(tenant, wanted.model)
    await _check_origin(house, tenant, voice)
    training = await _source(house, tenant, wanted.training_file, wanted.method, "training_file")
    validation = (
        await _source(house, tenant, wanted.validation_file, wanted.method, "validation_file")
        if wanted.validation_file
        else None
    )
    name = new_id("ftjob")
    session = await house.desk.open_session(tenant, ["fine_tuning", name], {}, "anubhav", name)
    seed = wanted.seed
    if seed is None:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") >> 1
    job = TuningJob(
        name, tenant, wanted.model, voice.base_model, voice.path,
        replace(recipe(house, voice).spec, seed=seed & 0xFFFF_FFFF), wanted.method, training, validation,
        wanted.hyperparameters, seed, _NOT_IN_NAMES.sub("-", wanted.suffix).strip("-"), RunId(f"{session}:train:0"),
        time.time(), wanted.metadata,
    )  # fmt: skip
    await house.jobs.open(job, lambda job: run_job(house, job))
    return job


async def resume_job(house: House, tenant: str, name: str) -> TuningJob:
    return await house.jobs.resume(tenant, name, lambda job: run_job(house, job))


async def go_on(house: House) -> None:
    """With the jobs that the end of the server interrupted."""
    await house.jobs.recover(lambda job: run_job(house, job))


async def delete_model(house: House, tenant: str, name: str) -> None:
    """With its checkpoint, unless another name leads there. Raises NotAllowed while an alias answers with that."""
    model = await house.voices.tuned(tenant, name)
    if model is None:
        raise NotFound(f"There is no fine-tuned model {name[:200]!r} of yours", hint="List yours: GET /v1/models.")
    path = await house.jobs.forget(model)
    if path:
        await house.desk.checkpoints.delete(tenant, path)


async def run_job(house: House, job: TuningJob) -> None:
    """File → course → run → a checkpoint each epoch → a model that answers."""
    training, validation = await _open(house, job)
    tokens = await training.count(job.method)
    if validation:
        await validation.count(job.method)
    preset = recipe(house, Voice(job.model, job.base_model, path=job.origin))
    course = plan_course(job.hyperparameters, job.method, len(training), preset, job.seed)
    if job.state == "validating_files":
        job = await house.jobs.move(job, "queued", "Files validated, the job waits for its turn")
    async with house.jobs.turn(job.tenant):
        told = "Fine-tuning job started"
        job = await house.jobs.move(job, "running", told, hyperparameters=course.hyperparameters)
        lesson = make_lesson(job.method, training, validation, course.beta)
        rows, path = await _train(house, job, course, lesson)
    await _finish(house, job, rows, path, tokens * course.epochs)


async def _train(house: House, job: TuningJob, course: Course, lesson: Lesson) -> tuple[list[Row], str]:
    """What was measured at each step, and the path of the last checkpoint."""
    run = await RunClient.take_up(house.desk, job.tenant, job.run, job.base_model, job.origin or job.spec)
    await lesson.prepare(run)
    rows, path = list[Row](), ""
    for epoch in range(course.epochs):
        for place, examples in enumerate(course.batches(epoch), start=1):
            step = len(rows)
            row = {"step": step + 1.0, "train_loss": await lesson.learn(run, examples)}
            await run.optim_step(course.at(step))
            if place == course.steps_an_epoch and (measured := await lesson.measure(run)) is not None:
                row |= {"valid_loss": measured, "full_valid_loss": measured}
            rows.append(row)
            await _tell(house, job, row, course.steps_an_epoch * course.epochs)
        path = await run.write(f"epoch-{epoch + 1}", "sampler_weights")
        await house.jobs.serve(job, _checkpoint(job, path, rows[-1]))
    return rows, path


async def _finish(house: House, job: TuningJob, rows: list[Row], path: str, tokens: int) -> None:
    last = _checkpoint(job, path, rows[-1])
    await house.jobs.serve(job, replace(last, name=_name(job), id=None))
    result = await _write_result(house, job, rows)
    done = {"tuned_model": _name(job), "trained_tokens": tokens, "result_file": result}
    await house.jobs.move(job, "succeeded", "The job has successfully completed", **done)


async def _tell(house: House, job: TuningJob, row: Row, steps: int) -> None:
    said = f"Step {row['step']:.0f}/{steps}: training loss={row['train_loss']:.4f}"
    if "valid_loss" in row:
        said += f", validation loss={row['valid_loss']:.4f}"
    await house.jobs.tell(job, f"step {row['step']:.0f}", said, **row, total_steps=float(steps))


async def _write_result(house: House, job: TuningJob, rows: list[Row]) -> str | None:
    """The measurements as a file of the tenant's; None when the quota has no room for it."""
    table = "\n".join(",".join(str(row.get(column, "")) for column in _COLUMNS) for row in rows)
    data = f"{','.join(_COLUMNS)}\n{table}\n".encode()
    known = f"file_{job.id.removeprefix('ftjob_')}"
    try:
        kept = await house.uploads.add(job.tenant, "step_metrics.csv", "fine-tune-results", data, known_as=known)
    except NotAllowed as problem:
        await house.jobs.warn(job, f"There is no file of results: {problem}")
        return None
    return kept.id


def _checkpoint(job: TuningJob, path: str, row: Row) -> TunedModel:
    step = int(row["step"])
    name, key = f"{_name(job)}:ckpt-step-{step}", f"ftckpt_{job.id.removeprefix('ftjob_')}_{step}"
    return TunedModel(name, job.tenant, path, job.id, step, time.time(), row, key)


def _name(job: TuningJob) -> str:
    return f"ft:{job.base_model}:{job.tenant}:{job.suffix}:{job.id[-8:]}"


async def _check_origin(house: House, tenant: str, voice: Voice) -> None:
    if voice.path is None:
        return
    try:
        await house.desk.checkpoints.find(tenant, voice.path)
    except NotFound as problem:
        raise BadInput(
            f"{voice.name[:200]!r} is lent to be spoken with, not to be trained on",
            hint=f"Train {voice.base_model}, or a checkpoint of yours.",
        ) from problem


async def _source(house: House, tenant: str, name: str, method: Method, param: str) -> Source:
    found = await house.uploads.find(tenant, name)
    if found.purpose != "fine-tune":
        raise BadFile(f"{param} {name} was uploaded for {found.purpose}", hint="Upload it for fine-tune.", param=param)
    data = await house.uploads.read(found.digest)
    await asyncio.to_thread(read_rows, data, method, param)
    return Source(name, found.digest)


async def _open(house: House, job: TuningJob) -> tuple[Dataset, Dataset | None]:
    renderer, model = house.renderers[job.base_model], house.models[job.base_model]
    found: list[Dataset | None] = []
    for param, source in (("training_file", job.training), ("validation_file", job.validation)):
        data = source and await house.uploads.read(source.digest)
        rows = data and await asyncio.to_thread(read_rows, data, job.method, param)
        found.append(Dataset(param, rows, renderer, model) if rows else None)
    training, validation = found
    assert training is not None
    return training, validation
