"""What every optimizer works with: the summed gradient, its norm and clipping, and the memory kept between steps."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from anubhav.errors import BadInput


@dataclass(slots=True)
class Moments:
    """The optimizer's memory of one adapter, in the order of its parameters. Empty before the first step."""

    first: list[Tensor] = field(default_factory=list[Tensor])
    second: list[Tensor] = field(default_factory=list[Tensor])
    """AdamW's alone."""
    steps: int = 0
    family: str = ""
    """Whose memory it is: that of the first step."""

    def begin(self, family: str, parameters: list[Tensor]) -> None:
        """Start at zero before the first step; later only check the family. Raises BadInput for another one."""
        if self.family not in ("", family):
            raise BadInput(f"This run's optimizer is {self.family}, not {family}", hint="Step with its own parameters.")
        if not self.family:
            self.family = family
            self.first = [torch.zeros_like(p) for p in parameters]
            self.second = [torch.zeros_like(p) for p in parameters] if family == "adamw" else []


@dataclass(slots=True)
class Gradient:
    """The sum of all passes since the last step; empty when there was none."""

    tensors: list[Tensor] = field(default_factory=list[Tensor])

    def add(self, tensors: list[Tensor]) -> None:
        if self.tensors:
            torch._foreach_add_(self.tensors, tensors)
        else:
            self.tensors = tensors


def norm(tensors: list[Tensor]) -> float:
    """The global L2 norm."""
    return float(torch.stack(torch._foreach_norm(tensors)).norm()) if tensors else 0.0


def clip(gradient: list[Tensor], most: float) -> None:
    """Scale the gradient down, in place, to a global norm of `most`; 0 and less turn clipping off."""
    total = norm(gradient)
    if 0 < most < total:
        torch._foreach_mul_(gradient, most / total)
