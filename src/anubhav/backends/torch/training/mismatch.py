"""How far the trainer's log-probabilities are from what the sampler reported, over a pass's tokens with advantages.

`mismatch:mean` and `mismatch:max` are of |log p − log q|, p the trainer's and q the sampler's. `ess:mean` is the
effective sample size of the weights r = p / q as a share of their number n: (Σ r)² / (n Σ r²), which is 1 when all
weights are equal (Kish, Survey Sampling, 1965; Kong, 1992, for importance weights). Right after sampling all three
measure rounding; on later passes over the same data they also measure what was learnt in between.

The SDK joins the parts of a large pass by the end of each name: maxima by the largest, means weighted by their data.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


class Mismatch:
    def __init__(self) -> None:
        self._away: list[Tensor] = []

    def add(self, logprobs_P: Tensor, inputs: Mapping[str, Tensor]) -> None:
        """Of a pack; losses without the sampler's log-probabilities have nothing to add."""
        if "logprobs" in inputs and "advantages" in inputs:
            away_P = logprobs_P.detach() - inputs["logprobs"]
            self._away.append(away_P[inputs["advantages"] != 0].double())

    def metrics(self) -> dict[str, float]:
        """Nothing for a loss that brings no log-probabilities; perfect agreement where no token pulls."""
        if not self._away:
            return {}
        away_P = torch.cat(self._away)
        if not len(away_P):
            return {"mismatch:mean": 0.0, "mismatch:max": 0.0, "ess:mean": 1.0}
        ratio_P = (away_P - away_P.max()).exp()  # a common factor cancels, and would overflow
        share = ratio_P.sum().square() / ratio_P.square().sum() / len(ratio_P)
        distance_P = away_P.abs()
        return {
            "mismatch:mean": float(distance_P.mean()),
            "mismatch:max": float(distance_P.max()),
            "ess:mean": float(share),
        }
