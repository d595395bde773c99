"""How far the trainer's log-probabilities are from what the sampler reported, over a pass's tokens with advantages.

With d = log p − log q, p the trainer's and q the sampler's: `mismatch:mean` and `mismatch:max` are of |d|. `kl:mean`
and `kl_k3:mean` are two estimates of KL(q ‖ p) from q's own tokens, the means of −d and of e^d − 1 − d
(joschu.net/blog/kl-approx.html): both are right on the average, the second is never negative and steadier. `ess:mean`
is the effective sample size of the weights r = p / q as a share of their number n: (Σ r)² / (n Σ r²), which is 1 when
all weights are equal (Kish, Survey Sampling, 1965; Kong, 1992, for importance weights). `masked:mean` is the share of
those tokens that a mask left out, where one was asked for. Right after sampling all measure rounding; on later passes
over the same data they also measure what was learnt in between.

The SDK joins the parts of a large pass by the end of each name: maxima by the largest, means weighted by their data.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from anubhav.backends.torch.training.losses.masking import kept

_DISTANCES = ("mismatch:mean", "mismatch:max", "kl:mean", "kl_k3:mean")


class Mismatch:
    def __init__(self) -> None:
        self._away: list[Tensor] = []
        self._masked: list[Tensor] = []

    def add(self, logprobs_P: Tensor, inputs: Mapping[str, Tensor], options: Mapping[str, float]) -> None:
        """Of a pack; losses without the sampler's log-probabilities have nothing to add."""
        if "logprobs" in inputs and "advantages" in inputs:
            away_P, pulls_P = logprobs_P.detach() - inputs["logprobs"], inputs["advantages"] != 0
            self._away.append(away_P[pulls_P].double())
            if (keep_P := kept(logprobs_P, inputs, options)) is not None:
                self._masked.append((~keep_P)[pulls_P].double())

    def metrics(self) -> dict[str, float]:
        """Nothing for a loss that brings no log-probabilities; perfect agreement where no token pulls."""
        if not self._away:
            return {}
        away_P = torch.cat(self._away)
        masks = {"masked:mean": _mean(torch.cat(self._masked))} if self._masked else {}
        if not len(away_P):
            return {**dict.fromkeys(_DISTANCES, 0.0), "ess:mean": 1.0, **masks}
        ratio_P = (away_P - away_P.max()).exp()  # a common factor cancels, and would overflow
        share = ratio_P.sum().square() / ratio_P.square().sum() / len(ratio_P)
        distance_P = away_P.abs()
        # Beyond e^50 an estimate says no more than that it is hopeless, and a metric must be finite.
        found = (distance_P.mean(), distance_P.max(), -away_P.mean(), (away_P.clamp(max=50).expm1() - away_P).mean())
        return {**dict(zip(_DISTANCES, map(float, found), strict=True)), "ess:mean": float(share), **masks}


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0
