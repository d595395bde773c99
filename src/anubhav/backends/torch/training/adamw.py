"""AdamW (arXiv:1711.05101) with bias correction, decoupled weight decay and clipping by the global gradient norm."""

import torch
from torch import Tensor

from anubhav.backends.torch.kernels import fused
from anubhav.backends.torch.training.optimizer import Moments, clip
from anubhav.types.training import OptimParams


@torch.no_grad()
def update(parameters: list[Tensor], gradient: list[Tensor], moments: Moments, params: OptimParams) -> None:
    """One step, in place. `gradient` is used up."""
    clip(gradient, params.grad_clip_norm)
    moments.steps += 1
    if fused.step(parameters, moments.first, moments.second, gradient, moments.steps, params):
        return
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
