"""Frozen linear layers. On CPU their weights are reordered once for oneDNN, which about doubles fp32 throughput.

Beside that copy stand the plain rows: the backward pass, the embedding and small decode steps read them. A checkpoint
whose values are all bfloat16 keeps them so, in half the room, and widens them when they are needed.
Axes: T tokens, I inputs, O outputs.
"""

import ctypes
import threading
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from anubhav.backends.torch.kernels import native

_BATCH_HINT: Final = 512
FEW: Final = 4 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 12
"""Rows that wait for memory rather than for arithmetic: reading half as many bytes is twice as fast. Without AVX-512
oneDNN's own product overtakes later."""
_STRIDE: Final = 32
"""The native kernel takes inputs in multiples of this."""


class FrozenLinear:
    """y = x Wᵀ (+ b), never trained. Keeps its weight in the layout its device computes fastest with."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None = None) -> None:
        self.outputs, self.inputs = weight_OI.shape
        self.dtype = weight_OI.dtype
        """What it computes in."""
        self._bias_O = bias_O
        self._packed = weight_OI.device.type == "cpu" and torch.backends.mkldnn.is_available()
        self.rows_OI = _narrowed(weight_OI) if self._packed else weight_OI
        """The plain weight; bfloat16 beside a wider `dtype` where that loses nothing."""
        self._forward = _reorder(weight_OI) if self._packed else weight_OI
        narrow = self._packed and self.rows_OI.dtype == torch.bfloat16 and self.inputs % _STRIDE == 0
        self.read_once = native.library() if narrow and native.fits(self.rows_OI) else None
        """The kernel for few rows, where there is one for this layer."""
        self.bias_float_O = bias_O.float() if self.read_once and bias_O is not None else None

    def __call__(self, x_TI: Tensor) -> Tensor:
        if self.read_once and len(x_TI) <= FEW and x_TI.dtype == self.dtype and not torch.is_grad_enabled():
            return self._read_few(self.read_once, x_TI.contiguous())
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise(x_TI.contiguous(), self._forward, self._bias_O, "none", [], "")
        return functional.linear(x_TI, self._forward, self._bias_O)

    def _read_few(self, library: ctypes.CDLL, x_TI: Tensor) -> Tensor:
        y_TO = torch.empty(len(x_TI), self.outputs, dtype=x_TI.dtype)
        addresses = (native.at(t) for t in (x_TI, self.rows_OI, self.bias_float_O, y_TO))
        kinds = native.FLOATS[self.rows_OI.dtype], native.FLOATS[x_TI.dtype]
        if library.few(*addresses, len(x_TI), self.inputs, self.outputs, *kinds, native.threads()):
            raise MemoryError("No memory for a layer's inputs")
        return y_TO

    def pull(self, dy_TO: Tensor) -> Tensor:
        """Dx = dy W, the gradient with respect to the input."""
        if not self._packed:
            return dy_TO @ self.rows_OI
        rows_OI = self.rows_OI if self.rows_OI.dtype == self.dtype else _widened(self.rows_OI)
        # A transposed view is as fast as a transposed copy, which would double what training holds.
        return torch.ops.mkldnn._linear_pointwise(dy_TO.contiguous(), rows_OI.t(), None, "none", [], "")


class _Scratch(threading.local):
    """Room for one widened weight: fresh memory for each would cost a page fault per 4 kB."""

    def __init__(self) -> None:
        self.cells = torch.empty(0)
        self.holds: Tensor | None = None


_scratch = _Scratch()


def _widened(rows_OI: Tensor) -> Tensor:
    """In float32, until the next call in this thread."""
    count = rows_OI.numel()
    if len(_scratch.cells) < count:
        _scratch.cells, _scratch.holds = torch.empty(count), None
    wide_OI = _scratch.cells[:count].view(rows_OI.shape)
    if _scratch.holds is not rows_OI:
        wide_OI.copy_(rows_OI)
        _scratch.holds = rows_OI
    return wide_OI


def _narrowed(weight_OI: Tensor) -> Tensor:
    narrow_OI = weight_OI.bfloat16()
    return narrow_OI if torch.equal(narrow_OI.to(weight_OI.dtype), weight_OI) else weight_OI


def _reorder(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _BATCH_HINT)
