"""What all ranks must know alike before they go on: whether somebody failed, and sums over them."""

from collections.abc import Sequence

import torch
import torch.distributed as dist

from anubhav.cluster.sharded.base import Base
from anubhav.errors import AnubhavError, Broken


def total(base: Base, values: Sequence[float]) -> list[float]:
    """The sum over all ranks of each number."""
    found = torch.tensor(values, dtype=torch.float64, device=base.device)
    if base.groups.world:
        dist.all_reduce(found, group=base.groups.world)
    return found.tolist()


def agree(base: Base, failure: AnubhavError | None) -> None:
    """Raises on every rank when one failed: there its own failure, which is the one to tell, elsewhere `Elsewhere`."""
    (failed,) = total(base, [float(failure is not None)])
    if failure:
        raise failure
    if failed:
        raise Elsewhere("Another rank failed at this", hint="Its own failure says why.")


class Elsewhere(Broken):
    """Another rank failed at the same request."""
