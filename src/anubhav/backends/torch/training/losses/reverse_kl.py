"""The reverse KL over the whole vocabulary, of the student p from the reference q, both at a temperature τ:

    loss = w τ² KL,   KL = Σ_v p_v (log p_v − log q_v),   p = softmax(z / τ),
    d loss / d z = w τ p ⊙ (log p − log q − KL).

Reverse KL at the student's own tokens: Gu et al., MiniLLM (arXiv:2306.08543), and Agarwal et al., GKD
(arXiv:2306.13649). The factor τ², with which gradients keep their size whatever τ is: Hinton et al. (arXiv:1503.02531),
section 2; MinT has it too. Axes: C positions, V vocabulary.
"""

import torch
from torch import Tensor


@torch.no_grad()
def compute(logits_CV: Tensor, reference_CV: Tensor, weights_C: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(loss_C, d loss / d logits_CV). The derivative is by hand, so that no chunk of logits outlives its turn."""
    logp_CV = (logits_CV.float() / temperature).log_softmax(-1)
    apart_CV = logp_CV - (reference_CV.float() / temperature).log_softmax(-1)
    p_CV = logp_CV.exp_()
    kl_C = (p_CV * apart_CV).sum(-1)
    slope_CV = apart_CV.sub_(kl_C[:, None]).mul_(p_CV).mul_((weights_C * temperature)[:, None])
    return weights_C * temperature**2 * kl_C, slope_CV
