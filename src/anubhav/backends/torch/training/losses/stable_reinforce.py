"""A substitute for Tinker's stable_reinforce, whose objective is not public: truncated importance sampling.

L = −Σ sg(min(p / q, 2)) · log p · A + kl_coeff · ½ (log p − log q)², the second term where A ≠ 0 only, because prompts
bring no q. The first is REINFORCE with the ratio cut at 2, which bounds how much a token may weigh when sampler and
trainer disagree (truncated importance sampling, Ionides 2008; 2 is the usual bound in RL of language models). The
gradient of the second is that of KL(p ‖ q) on samples of p. kl_coeff is 0 by default.

q is the input `logprobs`; where a datum brings provenance instead, they are what was recorded at sampling.
"""

from collections.abc import Mapping

from torch import Tensor

_MOST = 2.0


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], options: Mapping[str, float]) -> Tensor:
    advantages_P = inputs["advantages"]
    away_P = logprobs_P - inputs["logprobs"]
    weight_P = away_P.detach().exp().clamp(max=_MOST)
    held_P = 0.5 * options["kl_coeff"] * away_P.square() * (advantages_P != 0)
    return held_P - weight_P * logprobs_P * advantages_P
