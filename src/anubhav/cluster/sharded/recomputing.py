"""Activations of a layer are computed again for its backward pass instead of being kept from the forward pass.

By then another micro-batch may be under way in the forward direction (in a pipeline it is), so what a layer saw, its
adapter and the experts its tokens were told, is taken down with it; and tokens are counted the first time only.
"""

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from anubhav.cluster.sharded.adapting import Adapting


def recompute(layers: Any, adapting: Adapting) -> None:
    """Make these decoder layers do so whenever there will be a backward pass."""
    for layer in layers:
        layer.forward = _twice(layer.forward, adapting)


def _twice(forward: Any, adapting: Adapting) -> Any:
    def run(*args: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **named)
        scene = adapting.scene()
        again = False

        def see(*args: Any, **named: Any) -> Any:
            nonlocal again
            counts, again = not again, True
            with adapting.back_in(scene, counts=counts):
                return forward(*args, **named)

        # To its very end: a rank that stopped earlier would miss a collective of the others.
        with set_checkpoint_early_stop(False):
            return checkpoint(see, *args, use_reentrant=False, preserve_rng_state=False, **named)

    return run
