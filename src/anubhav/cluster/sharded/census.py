"""How much of the base a rank holds: at rest, and gathered by FSDP for the moment.

Tensor and expert parallelism never put a split weight together. FSDP does so a layer at a time; `Watch` reads the
buffers that it gathers into, before every layer, forward and backward, and keeps the most it saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


@dataclass(frozen=True, slots=True)
class Census:
    """Of one rank."""

    rest: Mapping[str, tuple[int, int]]
    """Per weight of its stage: cells on this rank between passes, and cells of the whole weight."""
    gathered: int
    """The most cells that FSDP had gathered at one time since the base was loaded."""


class Watch:
    def __init__(self, net: nn.Module, layers: Sequence[nn.Module]) -> None:
        self._net = net
        self._most = 0
        self._weights: list[Any] = []
        for module in self._net.modules():
            if isinstance(module, FSDPModule):
                self._weights += [
                    one for group in module._get_fsdp_state()._fsdp_param_groups for one in group.fsdp_params
                ]
        for layer in layers if self._weights else ():
            layer.register_forward_pre_hook(lambda *_: self._look())
            layer.register_forward_hook(self._behind)

    def census(self) -> Census:
        found: dict[str, tuple[int, int]] = {}
        for name, weight in self._net.named_parameters():
            local = weight.to_local() if isinstance(weight, DTensor) else weight
            found[name] = (local.numel(), weight.numel())
        return Census(found, self._most)

    def _behind(self, _: nn.Module, _args: tuple[Any, ...], out: Any) -> None:
        """The same look when the gradient comes to the layer."""
        if isinstance(out, Tensor) and torch.is_grad_enabled() and out.requires_grad:
            out.register_hook(lambda _: self._look())

    def _look(self) -> None:
        sizes = (
            part.untyped_storage().nbytes() // part.element_size()
            for weight in self._weights
            for part in weight.all_gather_outputs
        )
        self._most = max(self._most, sum(sizes))
