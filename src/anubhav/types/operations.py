"""The operations of a training run's journal: what `training.desk.submit` takes and replay re-applies."""

from dataclasses import dataclass

from anubhav.types.training import LoraSpec, OptimParams, Pass


@dataclass(frozen=True, slots=True)
class Create:
    """Sequence number 0 of a run that starts from a fresh adapter."""

    base_model: str
    spec: LoraSpec


@dataclass(frozen=True, slots=True)
class Load:
    """Replace the adapter by a checkpoint; at sequence number 0 the run is born from it."""

    path: str
    optimizer: bool


@dataclass(frozen=True, slots=True)
class Compute:
    """A forward or forward_backward pass."""

    work: Pass


@dataclass(frozen=True, slots=True)
class Step:
    params: OptimParams


@dataclass(frozen=True, slots=True)
class Save:
    """Write a checkpoint. `weights` keeps the optimizer, `sampler_weights` does not."""

    kind: str
    name: str
    overwrite: bool = False
    sampler: str | None = None
    """The sampling session to open on it, for Tinker's nameless (ephemeral) saves."""


Operation = Create | Load | Compute | Step | Save
