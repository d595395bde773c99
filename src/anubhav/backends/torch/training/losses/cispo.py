"""Policy gradient weighted by a clipped ratio, L = −Σ sg(clip(p / q, low, high)) · log p · A (arXiv:2506.13585).

sg stops the gradient, so that outside the bounds a token weighs less and yet teaches. 0 and 4 by default (Tinker docs).
"""

from collections.abc import Mapping

from torch import Tensor

from anubhav.backends.torch.training.losses.clip import clipped


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], _options: Mapping[str, float]) -> Tensor:
    ratio_P = (logprobs_P.detach() - inputs["logprobs"]).exp()
    return -clipped(ratio_P, inputs) * logprobs_P * inputs["advantages"]
