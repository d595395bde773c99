"""Fine-tuning jobs in OpenAI's shapes: what a script for that API asks, and what it reads of a job."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.flows import tuning
from anubhav.flows.house import House
from anubhav.flows.tuning import Wanted
from anubhav.http.auth import needs, principal
from anubhav.http.entrance import house_of
from anubhav.http.errors import Malformed
from anubhav.http.openai.bodies import Body
from anubhav.http.openai.files import Cursor, page_json
from anubhav.training.jobs import BadFile
from anubhav.types.models import Principal
from anubhav.types.tuning import Hyperparameters, JobEvent, TunedModel, TuningJob

router = APIRouter(dependencies=[Depends(needs("train", "read"))])
_TRAIN = [Depends(needs("train"))]
Json = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=1000)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Auto = Literal["auto"]


class Numbers(Body):
    """Of either method; `auto` is the same as nothing."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] | None = None
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] | None = None
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    beta: Auto | Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None


class Settings(Body):
    hyperparameters: Numbers | None = None


class Method(Body):
    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Settings | None = None
    dpo: Settings | None = None


class Job(Body):
    model: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    training_file: Id
    validation_file: Id | None = None
    method: Method | None = None
    hyperparameters: Numbers | None = None
    """Older scripts have them here."""
    suffix: Annotated[str, StringConstraints(max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
            Field(max_length=16),
        ]
        | None
    ) = None
    integrations: list[Any] | None = None


@router.post("/fine_tuning/jobs", dependencies=_TRAIN)
async def create_job(body: Job, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    try:
        return job_json(await tuning.create_job(house, who.tenant, _wanted(body)))
    except BadFile as problem:
        raise Malformed(problem.message, hint=problem.hint, param=problem.param) from problem


@router.get("/fine_tuning/jobs")
async def list_jobs(
    request: Request,
    after: Cursor = None,
    limit: Limit = 20,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    asked = request.query_params.items()
    metadata = {key[9:-1]: value for key, value in asked if key.startswith("metadata[") and key.endswith("]")}
    found = await house.jobs.page(who.tenant, after, limit + 1, metadata)
    return page_json([job_json(job) for job in found], limit)


@router.get("/fine_tuning/jobs/{job}")
async def get_job(job: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return job_json(await house.jobs.find(who.tenant, job))


@router.get("/fine_tuning/jobs/{job}/events")
async def list_events(
    job: str,
    after: Cursor = None,
    limit: Limit = 20,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    found = await house.jobs.events(who.tenant, job, after, limit + 1)
    return page_json([event_json(event) for event in found], limit)


@router.get("/fine_tuning/jobs/{job}/checkpoints")
async def list_checkpoints(
    job: str,
    after: Cursor = None,
    limit: Limit = 10,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    found = await house.jobs.checkpoints(who.tenant, job, after, limit + 1)
    return page_json([checkpoint_json(one) for one in found], limit)


@router.post("/fine_tuning/jobs/{job}/pause", dependencies=_TRAIN)
async def pause_job(job: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return job_json(await house.jobs.pause(who.tenant, job))


@router.post("/fine_tuning/jobs/{job}/resume", dependencies=_TRAIN)
async def resume_job(job: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return job_json(await tuning.resume_job(house, who.tenant, job))


@router.post("/fine_tuning/jobs/{job}/cancel", dependencies=_TRAIN)
async def cancel_job(job: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return job_json(await house.jobs.cancel(who.tenant, job))


@router.delete("/models/{name:path}", dependencies=_TRAIN)
async def delete_model(name: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    await tuning.delete_model(house, who.tenant, name)
    return {"id": name, "object": "model", "deleted": True}


def _wanted(body: Job) -> Wanted:
    """Raises BadInput for what this build cannot do."""
    method = body.method.type if body.method else "supervised"
    if method == "reinforcement":
        raise BadInput("Jobs of the method reinforcement are not in this build", hint="Use supervised or dpo.")
    if body.integrations:
        raise BadInput("integrations are not in this build", hint="Read a job's numbers from its events.")
    settings = body.method and (body.method.dpo if method == "dpo" else body.method.supervised)
    numbers = (settings and settings.hyperparameters) or body.hyperparameters or Numbers()
    given = {name: None if value == "auto" else value for name, value in numbers.model_dump().items()}
    return Wanted(
        body.model,
        body.training_file,
        body.validation_file,
        method,
        Hyperparameters(**given),
        body.suffix or "",
        body.seed,
        body.metadata,
    )


def job_json(job: TuningJob) -> Json:
    asked = job.hyperparameters
    numbers = {
        name: "auto" if value is None else value
        for name, value in (
            ("n_epochs", asked.n_epochs),
            ("batch_size", asked.batch_size),
            ("learning_rate_multiplier", asked.learning_rate_multiplier),
        )
    }
    own = numbers | ({"beta": "auto" if asked.beta is None else asked.beta} if job.method == "dpo" else {})
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created_at),
        "error": job.failure and {"code": job.failure.code, "message": job.failure.message, "param": job.failure.param},
        "estimated_finish": None,
        "fine_tuned_model": job.tuned_model,
        "finished_at": None if job.finished_at is None else int(job.finished_at),
        "hyperparameters": numbers if job.method == "supervised" else {},
        "integrations": [],
        "metadata": job.metadata,
        "method": {"type": job.method, job.method: {"hyperparameters": own}},
        "model": job.model,
        "organization_id": job.tenant,
        "result_files": [job.result_file] if job.result_file else [],
        "seed": job.seed,
        "status": job.state,
        "trained_tokens": job.trained_tokens,
        "training_file": job.training.file,
        "validation_file": job.validation.file if job.validation else None,
    }


def event_json(event: JobEvent) -> Json:
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": int(event.created_at),
        "level": event.level,
        "message": event.message,
        "type": "metrics" if event.data else "message",
        "data": event.data,
    }


def checkpoint_json(model: TunedModel) -> Json:
    return {
        "id": model.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(model.created_at),
        "fine_tuned_model_checkpoint": model.name,
        "fine_tuning_job_id": model.job,
        "metrics": model.metrics,
        "step_number": model.step,
    }
