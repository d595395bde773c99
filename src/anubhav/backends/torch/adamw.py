"""AdamW (arXiv:1711.05101) with bias correction, decoupled weight decay and clipping by the global gradient norm."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from anubhav.types.training import OptimParams


@dataclass(slots=True)
class Moments:
    """The optimizer's memory of one adapter, in the order of its parameters."""

    first: list[Tensor]
    second: list[Tensor]
    steps: int = 0


@dataclass(slots=True)
class Gradient:
    """The sum of all passes since the last step; empty when there was none."""

    tensors: list[Tensor] = field(default_factory=list[Tensor])

    def add(self, tensors: list[Tensor]) -> None:
        if self.tensors:
            torch._foreach_add_(self.tensors, tensors)
        else:
            self.tensors = tensors


def fresh_moments(parameters: list[Tensor]) -> Moments:
    return Moments([torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters])


def norm(tensors: list[Tensor]) -> float:
    """The global L2 norm."""
    return float(torch.stack(torch._foreach_norm(tensors)).norm()) if tensors else 0.0


@torch.no_grad()
def update(parameters: list[Tensor], gradient: list[Tensor], moments: Moments, params: OptimParams) -> None:
    """One step, in place. `gradient` is used up."""
    total = norm(gradient)
    if params.grad_clip_norm > 0 and total > params.grad_clip_norm:
        torch._foreach_mul_(gradient, params.grad_clip_norm / total)
    moments.steps += 1
    torch._foreach_lerp_(moments.first, gradient, 1 - params.beta1)
    torch._foreach_mul_(moments.second, params.beta2)
    torch._foreach_addcmul_(moments.second, gradient, gradient, 1 - params.beta2)
    bias1, bias2 = 1 - params.beta1**moments.steps, 1 - params.beta2**moments.steps
    if params.weight_decay:
        torch._foreach_mul_(parameters, 1 - params.learning_rate * params.weight_decay)
    denominators = torch._foreach_sqrt(moments.second)
    torch._foreach_div_(denominators, bias2**0.5)
    torch._foreach_add_(denominators, params.eps)
    torch._foreach_addcdiv_(parameters, moments.first, denominators, -params.learning_rate / bias1)
