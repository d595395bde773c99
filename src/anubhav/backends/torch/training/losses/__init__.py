"""The losses: one small file each, one line here. A loss maps log-probabilities to a value per position.

Positions of all data of a micro-batch stand in one axis P. Values are summed, never averaged (Tinker's rule), so that
chunking a batch changes nothing. What each loss is given stands in `types.losses`: its inputs by name, each P; the
options that may differ by token are always among them. A loss of level `datum` also finds there `datum`, the number
of each position's datum, counted from 0.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from anubhav.backends.torch.training.losses import (
    cispo,
    cross_entropy,
    dro,
    gspo,
    importance_sampling,
    ppo,
    stable_reinforce,
)

Compute = Callable[[Tensor, Mapping[str, Tensor], Mapping[str, float]], Tensor]
"""(logprobs_P, inputs by name, options) → loss_P, differentiable in the first."""

COMPUTE: Mapping[str, Compute] = {
    "cross_entropy": cross_entropy.compute,
    "importance_sampling": importance_sampling.compute,
    "ppo": ppo.compute,
    "cispo": cispo.compute,
    "dro": dro.compute,
    "gspo": gspo.compute,
    "stable_reinforce": stable_reinforce.compute,
}
