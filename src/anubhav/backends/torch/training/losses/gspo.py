"""Sequence-level policy gradient, GSPO-token of arXiv:2507.18071 as Tinker's docs have it.

L = −Σ min(r A, clip(r, low, high) A), where every token of a datum has the value of one ratio, r = exp(mean over the
marked tokens of (log p − log q)), and the gradient of its own log p. Marked is what sequence_ratio_mask is not 0 at.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from anubhav.backends.torch.training.losses.clip import pessimistic


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], _options: Mapping[str, float]) -> Tensor:
    """D: the data of the micro-batch."""
    fixed_P, datum_P = logprobs_P.detach(), inputs["datum"]
    marked_P = (inputs["sequence_ratio_mask"] != 0).to(fixed_P.dtype)
    none_D = torch.zeros(int(datum_P[-1]) + 1, dtype=fixed_P.dtype, device=fixed_P.device)
    total_D = none_D.index_add(0, datum_P, (fixed_P - inputs["logprobs"]) * marked_P)
    mean_D = total_D / none_D.index_add(0, datum_P, marked_P)
    return pessimistic((mean_D[datum_P] + logprobs_P - fixed_P).exp(), inputs)
