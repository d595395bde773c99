"""The adapters of one rank: its pieces of each, the gradient that waits, the optimizer's memory, and the step.

Gradients of passes are added up locally and reduced once, at the step, over the ranks that hold the same pieces; the
norm counts every cell of the whole adapter once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.distributed as dist
from torch import Tensor

from anubhav.backends.torch.training import adamw
from anubhav.backends.torch.training.optimizer import Gradient, Moments
from anubhav.cluster.sharded.adapting import Adapting, Held, Pair
from anubhav.cluster.sharded.agreeing import total
from anubhav.cluster.sharded.base import Base
from anubhav.cluster.sharded.collectives import Process
from anubhav.cluster.sharded.dimuon import turn
from anubhav.cluster.sharded.pieces import Cut
from anubhav.cluster.sharded.places import Place
from anubhav.errors import BadInput, NotFound
from anubhav.types.ids import AdapterId
from anubhav.types.training import OPTIMIZERS, LoraSpec, OptimParams


@dataclass(slots=True)
class Pupil:
    held: Held
    moments: Moments = field(default_factory=Moments)
    gradient: Gradient = field(default_factory=Gradient)


class Pupils:
    def __init__(self, base: Base, adapting: Adapting) -> None:
        self._base, self._adapting = base, adapting
        self._pupils: dict[AdapterId, Pupil] = {}

    def adopt(self, name: AdapterId, held: Held, moments: Moments | None = None) -> None:
        self._pupils[name] = Pupil(held, moments or Moments())

    def get(self, name: AdapterId) -> Pupil:
        if name not in self._pupils:
            raise NotFound(f"The trainer has no adapter {name}", hint="Create or load it first.")
        return self._pupils[name]

    def drop(self, name: AdapterId) -> None:
        self._pupils.pop(name, None)

    def cut(self, spec: LoraSpec, wholes: Iterable[tuple[Place, Tensor, Tensor]]) -> Held:
        """This rank's pieces of a whole adapter, which comes a place at a time."""
        cut = Cut(self._base.layout, self._base.seat)
        pairs: dict[tuple[int, str], Pair] = {}
        for place, a, b in wholes:
            if self._adapting.here(place):
                pieces = cut.pieces(place, self._adapting.style_at(place))
                a, b = (self._own(whole[piece.index]) for whole, piece in zip((a, b), pieces, strict=True))
                pairs[place.key] = Pair(place, pieces, a, b, place.scale(spec))
        return Held(spec, pairs)

    def step(self, name: AdapterId, params: OptimParams) -> dict[str, float]:
        """Raises BadInput, on all ranks, for another optimizer, and, with the gradient gone, for one not finite."""
        pupil = self.get(name)
        if params.family not in OPTIMIZERS:
            raise BadInput(f"The optimizer {params.family!r} is unknown", hint=f"Use one of {', '.join(OPTIMIZERS)}.")
        pupil.moments.begin(params.family, pupil.held.parameters())
        gradient, pupil.gradient = pupil.gradient.tensors, Gradient()
        self._reduce(pupil.held, gradient)
        norm = self._norm(pupil.held, gradient)
        if not torch.tensor(norm).isfinite():
            raise BadInput("The gradient is not finite, so no step was taken", hint="Lower the advantages or weights.")
        if gradient:
            if 0 < params.grad_clip_norm < norm:
                torch._foreach_mul_(gradient, params.grad_clip_norm / norm)
            unclipped = replace(params, grad_clip_norm=0.0)
            if params.family == "dimuon":
                turn(pupil.held, gradient, pupil.moments, unclipped, self._base.groups.tp)
            else:
                with torch.no_grad():
                    adamw.update(pupil.held.parameters(), gradient, pupil.moments, unclipped)
        return {"grad_norm": norm, "learning_rate": params.learning_rate, "step": float(pupil.moments.steps)}

    def _own(self, piece: Tensor) -> Tensor:
        return piece.to(self._base.device, torch.float32).clone(memory_format=torch.contiguous_format).requires_grad_()

    def _reduce(self, held: Held, gradient: list[Tensor]) -> None:
        """Sums, not means: one all-reduce for each group of ranks, of all that it shares."""
        groups: dict[str, Process | None] = {
            "stage": self._base.groups.stage,
            "data": self._base.groups.data,
            "copies": self._base.groups.copies,
        }
        for name, group in groups.items():
            some = [
                (slope, piece.share)
                for slope, piece in zip(gradient, held.pieces(), strict=False)
                if piece.group == name
            ]
            if group is None or not some:
                continue
            flat = torch.cat([slope.flatten() * share for slope, share in some])
            dist.all_reduce(flat, group=group)
            parts = flat.split([slope.numel() for slope, _ in some])
            for (slope, _), part in zip(some, parts, strict=True):
                slope.copy_(part.view_as(slope))

    def _norm(self, held: Held, gradient: list[Tensor]) -> float:
        mine = [slope for slope, piece in zip(gradient, held.pieces(), strict=False) if piece.speaks]
        squares = torch.stack(torch._foreach_norm(mine)).double().square().sum() if mine else torch.zeros(())
        return total(self._base, [float(squares)])[0] ** 0.5
