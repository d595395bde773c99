"""Sequence-level policy gradient, GSPO-token of arXiv:2507.18071 as Tinker's docs have it.

L = −Σ min(r A, clip(r, low, high) A), where every token of a datum has the value of one ratio, r = exp(mean over the
marked tokens of (log p − log q)), and the gradient of its own log p. Marked is what sequence_ratio_mask is not 0 at.
"""

from collections.abc import Mapping

from torch import Tensor

from anubhav.backends.torch.training.losses.clip import pessimistic
from anubhav.backends.torch.training.losses.masking import over_data


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], _options: Mapping[str, float]) -> Tensor:
    fixed_P = logprobs_P.detach()
    total_P, count_P = over_data(fixed_P - inputs["logprobs"], inputs)
    return pessimistic((total_P / count_P + logprobs_P - fixed_P).exp(), inputs)
