"""Fine-tuning jobs: a file somebody uploaded, a job that learns from it, and the models it leaves behind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from anubhav.types.ids import RunId
from anubhav.types.training import LoraSpec

Purpose = Literal["fine-tune", "batch", "user_data", "assistants", "vision", "evals", "fine-tune-results"]
Method = Literal["supervised", "dpo"]
JobState = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
ENDED: frozenset[JobState] = frozenset(("succeeded", "failed", "cancelled"))


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a tenant's."""

    id: str
    tenant: str
    name: str
    purpose: Purpose
    digest: str
    """Of its bytes, which lie under this name."""
    size: int
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """None: chosen by the recipe for the model's size and the length of the file."""

    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None
    """Of DPO alone."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file a job reads, as it was when the job was made: deleting it then takes nothing from the job."""

    file: str
    digest: str


@dataclass(frozen=True, slots=True)
class JobFailure:
    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class TuningJob:
    id: str
    tenant: str
    model: str
    """As it was asked for."""
    base_model: str
    origin: str | None
    """The checkpoint it goes on from; None: a fresh adapter."""
    spec: LoraSpec
    """Of a fresh adapter."""
    method: Method
    training: Source
    validation: Source | None
    hyperparameters: Hyperparameters
    seed: int
    suffix: str
    run: RunId
    """The training run that all its operations belong to."""
    created_at: float
    metadata: Mapping[str, str] | None = None
    state: JobState = "validating_files"
    finished_at: float | None = None
    tuned_model: str | None = None
    trained_tokens: int | None = None
    failure: JobFailure | None = None
    result_file: str | None = None


@dataclass(frozen=True, slots=True)
class JobEvent:
    id: str
    key: str
    """Of what happened: what is told again after a restart is told once."""
    message: str
    created_at: float
    level: Literal["info", "warn", "error"] = "info"
    data: Mapping[str, float | str] = field(default_factory=dict[str, float | str])
    """Of a metrics event."""


@dataclass(frozen=True, slots=True)
class TunedModel:
    """A name a tenant's checkpoint answers to."""

    name: str
    tenant: str
    path: str
    job: str
    step: int
    created_at: float
    metrics: Mapping[str, float]
    id: str | None = None
    """Of a checkpoint along the way; None: the job's last word."""
