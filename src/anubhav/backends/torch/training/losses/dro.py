"""Direct reward optimisation, L = −Σ [log p · A − ½ β (log p − log q)²] (arXiv:2405.19107, as Tinker's docs have it).

Off-policy without a ratio: the square holds the policy near the one that sampled.
"""

from collections.abc import Mapping

from torch import Tensor


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], options: Mapping[str, float]) -> Tensor:
    away_P = logprobs_P - inputs["logprobs"]
    return 0.5 * options["beta"] * away_P.square() - logprobs_P * inputs["advantages"]
