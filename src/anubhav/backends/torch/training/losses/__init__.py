"""The losses: one small file each, one line here. A loss maps log-probabilities to a value per position.

Positions of all data of a micro-batch stand in one axis P. Values are summed, never averaged (Tinker's rule), so that
chunking a batch changes nothing. What each loss is given stands in `types.losses`: its inputs by name, each P; the
options that may differ by token are always among them. Where a ratio of whole data is asked for (`level_of`), there is
also `datum`, the number of each position's datum, counted from 0.
"""

from collections.abc import Mapping

from anubhav.backends.torch.training.losses import (
    cispo,
    cross_entropy,
    dro,
    gspo,
    importance_sampling,
    ppo,
    stable_reinforce,
)
from anubhav.backends.torch.training.losses.masking import Compute, masked

COMPUTE: Mapping[str, Compute] = {
    "cross_entropy": cross_entropy.compute,
    "importance_sampling": masked(importance_sampling.compute),
    "ppo": masked(ppo.compute),
    "cispo": masked(cispo.compute),
    "dro": masked(dro.compute),
    "gspo": masked(gspo.compute),
    "stable_reinforce": masked(stable_reinforce.compute),
}
