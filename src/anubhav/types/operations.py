"""The operations of a training run's journal: what `training.desk.submit` takes and replay re-applies."""

from collections.abc import Mapping
from dataclasses import dataclass

from anubhav.types.checkpoints import Kind
from anubhav.types.distilling import Distillation
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
    family: str | None = None
    """The optimizer of a run that is born here without the saved one; None: AdamW then, else the one there is."""
    reader: str | None = None
    """The tenant who may read the checkpoint and whose key came with the request; None: the run's own."""


@dataclass(frozen=True, slots=True)
class Compute:
    """A forward or forward_backward pass."""

    work: Pass


@dataclass(frozen=True, slots=True)
class Step:
    params: OptimParams


@dataclass(frozen=True, slots=True)
class Save:
    """Write a checkpoint. `weights` keeps the optimizer; `sampler_weights` and `external_weights` do not."""

    kind: Kind
    name: str
    overwrite: bool = False
    sampler: str | None = None
    """The sampling session to open on it, for Tinker's nameless (ephemeral) saves."""
    inflight: bool = False
    """That session, and the run's earlier inflight ones, then sample from the newest of these saves."""
    ttl: int | None = None
    """Seconds it lives; None: until it is deleted."""
    metadata: Mapping[str, str] | None = None
    recipients: tuple[str, ...] = ()
    """The age recipients to whom the files of external weights are encrypted."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a checkpoint as they were when an operation that reads them was handed in."""

    folder: str
    """Relative to the data folder."""
    manifest: Mapping[str, str]
    """The hash of each."""


@dataclass(frozen=True, slots=True)
class Distil:
    """A forward_backward pass of the reverse KL from a reference."""

    work: Distillation
    reference: str
    """The path of a checkpoint, or the name of the run's base model."""
    files: Files | None = None
    """The desk fills it in; None for the base model."""


Operation = Create | Load | Compute | Step | Save | Distil
