"""Frozen linear layers. On CPU their weights are reordered once for oneDNN, which about doubles fp32 throughput.

Axes: T tokens, I inputs, O outputs.
"""

import torch
from torch import Tensor
from torch.nn import functional

_BATCH_HINT = 512


class FrozenLinear:
    """y = x Wᵀ (+ b), never trained. Keeps its weight in the layout its device computes fastest with."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None = None) -> None:
        self.outputs, self.inputs = weight_OI.shape
        self._bias_O = bias_O
        self._packed = weight_OI.device.type == "cpu" and torch.backends.mkldnn.is_available()
        self._plain_OI = weight_OI
        self._forward = _reorder(weight_OI) if self._packed else weight_OI
        self._backward: Tensor | None = None

    def __call__(self, x_TI: Tensor) -> Tensor:
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise(x_TI.contiguous(), self._forward, self._bias_O, "none", [], "")
        return functional.linear(x_TI, self._forward, self._bias_O)

    def pull(self, dy_TO: Tensor) -> Tensor:
        """Dx = dy W, the gradient with respect to the input."""
        if not self._packed:
            return dy_TO @ self._plain_OI
        if self._backward is None:
            # Only a process that trains pays for the second copy.
            self._backward = _reorder(self._plain_OI.t())
        return torch.ops.mkldnn._linear_pointwise(dy_TO.contiguous(), self._backward, None, "none", [], "")


def _reorder(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _BATCH_HINT)
