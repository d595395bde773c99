"""One rank of the gang: a plain class without a process or a thread of its own, so that anything can run it.

Every method is called on all ranks with the same arguments, and most of them meet in collectives. What it raises from
the house's tree was agreed on by all ranks, or is the same on all of them, and leaves them in step; anything else means
that this rank is lost, and with it the gang.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from anubhav.backends.torch.training.optimizer import Moments
from anubhav.cluster.layout import Layout
from anubhav.cluster.sharded.adapting import Adapting, Held
from anubhav.cluster.sharded.agreeing import agree
from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.census import Census, Watch
from anubhav.cluster.sharded.distilling import distil
from anubhav.cluster.sharded.files import Saved, Whole, blended, read, write
from anubhav.cluster.sharded.gathering import gather, pieces
from anubhav.cluster.sharded.learning import Learning, Part
from anubhav.cluster.sharded.places import Kind, fresh
from anubhav.cluster.sharded.pupils import Pupils
from anubhav.cluster.sharded.recomputing import recompute
from anubhav.errors import AnubhavError, Unavailable
from anubhav.types.distilling import Distillation
from anubhav.types.ids import AdapterId
from anubhav.types.training import LoraSpec, OptimParams, Pass

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a gang is to be, alike for all its ranks."""

    folder: Path
    """Of the base model; every rank reads its own part of it."""
    layout: Layout
    kind: Kind = "per_expert"
    device: str = "cpu"
    dtype: str = "float32"
    budget: int = 2048
    """Tokens of a micro-batch on a rank, padding included."""
    patience: float = 600.0
    """Seconds a collective may take."""
    threads: int = 1
    """Of a rank on the CPU."""
    recompute: bool = False
    """Keep a layer's input alone for its backward pass: a third more to compute, a small part of the activations."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the ranks of a gang find one another."""

    host: str
    port: int


class Worker:
    def setup(self, rank: int, world: int, address: Address, plan: Plan) -> None:
        """Join the gang and load this rank's part of the base. Raises BadInput for what does not fit."""
        device = _join(rank, world, address, plan)
        self._plan = plan
        self._base = Base(plan.folder, plan.layout, rank, device, _DTYPES[plan.dtype])
        self._watch = Watch(self._base.net, self._base.decoder_layers)
        adapting = Adapting(self._base)
        if plan.recompute:
            recompute(self._base.decoder_layers, adapting)
        self._pupils = Pupils(self._base, adapting)
        self._learning = Learning(self._base, adapting, plan.budget)

    def create(self, adapter: AdapterId, spec: LoraSpec) -> None:
        self._pupils.adopt(adapter, self._pupils.cut(spec, fresh(self._base.config, spec, self._plan.kind)))

    def run(self, passes: Sequence[Pass]) -> list[Part | AnubhavError]:
        """In order. A failed pass leaves its adapter's gradient as it was."""
        return [self._run(work) for work in passes]

    def _run(self, work: Pass) -> Part | AnubhavError:
        try:
            pupil = self._pupils.get(work.adapter)
            part, gradient = self._learning.run(work, pupil.held)
        except AnubhavError as failure:
            return failure
        if gradient:
            pupil.gradient.add(gradient)
        return part

    def distil(self, adapter: AdapterId, work: Distillation, reference: Path | None) -> dict[int, float]:
        """The losses of this rank's data."""
        pupil = self._pupils.get(adapter)
        other = self._adapter(self._read([reference])[0].weights) if reference else None
        losses, gradient = distil(self._learning, self._base, pupil.held, other, work)
        pupil.gradient.add(gradient)
        return losses

    def step(self, adapter: AdapterId, params: OptimParams) -> dict[str, float]:
        return self._pupils.step(adapter, params)

    def save(self, adapter: AdapterId, folder: Path, *, optimizer: bool) -> None:
        """The first rank writes."""
        pupil = self._pupils.get(adapter)
        held, moments = pupil.held, pupil.moments
        weights = self._gather(held, held.parameters())
        kinds = {"first": moments.first, "second": moments.second} if optimizer else {}
        whole = {name: self._gather(held, values) for name, values in kinds.items() if values}
        failure: AnubhavError | None = None
        if dist.get_rank() == 0:
            saved = Saved(weights, whole, moments.steps, moments.family)
            try:
                write(self._base.config, self._plan.kind, saved, folder, optimizer=optimizer)
            except OSError as problem:
                failure = Unavailable(f"The adapter could not be written: {problem.strerror}", hint="Free some space.")
        agree(self._base, failure)

    def load(self, adapter: AdapterId, source: Path, *, optimizer: bool) -> None:
        (saved,) = self._read([source])
        held = self._adapter(saved.weights)
        moments = Moments()
        if optimizer and saved.family:
            first, second = (
                pieces(self._base, held, saved.moments[name]) if name in saved.moments else []
                for name in ("first", "second")
            )
            moments = Moments(first, second, steps=saved.steps, family=saved.family)
        self._pupils.adopt(adapter, held, moments)

    def blend(self, adapter: AdapterId, parts: Sequence[tuple[Path, float]]) -> None:
        saved = self._read([folder for folder, _ in parts])
        shares = [share for _, share in parts]
        together = [(one.weights, share) for one, share in zip(saved, shares, strict=True)]
        self._pupils.adopt(adapter, self._adapter(blended(self._base.config, self._plan.kind, together)))

    def drop(self, adapter: AdapterId) -> None:
        self._pupils.drop(adapter)

    def census(self) -> Census:
        return self._watch.census()

    def _adapter(self, whole: Whole) -> Held:
        return self._pupils.cut(whole.spec, whole.each(self._base.config, self._plan.kind))

    def _gather(self, held: Held, values: Sequence[Tensor]) -> Whole:
        return gather(self._base, held, self._plan.kind, values)

    def _read(self, folders: Sequence[Path]) -> list[Saved]:
        """Raises on all ranks when one of them cannot read."""
        found: list[Saved] = []
        failure: AnubhavError | None = None
        try:
            found = [read(self._base.config, self._plan.kind, folder) for folder in folders]
        except AnubhavError as problem:
            failure = problem
        agree(self._base, failure)
        return found


def _join(rank: int, world: int, address: Address, plan: Plan) -> torch.device:
    """Meet the other ranks. Returns this one's device."""
    cuda = plan.device == "cuda"
    local = rank % torch.cuda.device_count() if cuda else rank
    # transformers reads these when it makes its mesh.
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(local)}
    if cuda:
        torch.cuda.set_device(local)
    else:
        torch.set_num_threads(plan.threads)
    patience = timedelta(seconds=plan.patience)
    store = dist.TCPStore(address.host, address.port, is_master=False, timeout=patience)
    backend = "nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=patience)
    return torch.device(plan.device, local) if cuda else torch.device("cpu")
