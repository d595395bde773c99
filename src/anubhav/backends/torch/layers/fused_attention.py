"""Attention over a trie by the kernels of `kernels/branches.c`: no padding, no mask, nothing gathered twice.

Axes: T packed tokens, H query heads, G key-value heads, D head dimension, Y rows of all paths, one after another.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from anubhav.backends.torch.kernels.native import FLOATS, library, threads

_VECTOR: Final = 16
_POINTERS: Final = ("q", "k", "v", "o", "d_o", "out", "dq", "sums", "dk_paths", "dv_paths", "paths", "bounds")
_COUNTS: Final = ("q_stride", "k_stride", "v_stride", "branches", "heads", "groups", "d", "type", "threads")


class _Attention(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in _COUNTS),
        ("scale", ctypes.c_float),
    )


@dataclass(frozen=True, slots=True)
class Paths:
    """The branches of a trie: each one's rows from the root, of which it shares the first with earlier branches."""

    rows_Y: Tensor
    bounds_B3: Tensor
    """Where each path begins in Y, how long it is, and how much of it is shared."""


def lay_paths(branches: Sequence[tuple[Sequence[int], int]]) -> Paths:
    """From (path, shared) of each branch."""
    rows: list[int] = []
    bounds: list[tuple[int, int, int]] = []
    for path, shared in branches:
        bounds.append((len(rows), len(path), shared))
        rows.extend(path)
    return Paths(torch.tensor(rows, dtype=torch.int32), torch.tensor(bounds, dtype=torch.int64))


def takes(q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> bool:
    """Whether the kernels can do these; their rows may lie apart."""
    alike = q_THD.dtype == k_TGD.dtype == v_TGD.dtype and k_TGD.shape == v_TGD.shape
    rows = (q_THD[0], k_TGD[0], v_TGD[0])
    known = q_THD.device.type == "cpu" and q_THD.dtype in FLOATS and all(row.is_contiguous() for row in rows)
    return alike and known and q_THD.shape[-1] % _VECTOR == 0 and library() is not None


def attend(paths: Paths, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> Tensor:
    """o_THD, differentiable. Only for what `takes` says yes to."""
    return _Attend.apply(q_THD, k_TGD, v_TGD, paths)  # pyright: ignore[reportReturnType]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor, paths: Paths) -> Tensor:
        out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype)
        sums_TH = torch.empty(q_THD.shape[:2])
        about = _about(paths, q_THD, k_TGD, v_TGD)
        about.out, about.sums = out_THD.data_ptr(), sums_TH.data_ptr()
        _run("attend_branches", ctypes.byref(about))
        ctx.save_for_backward(q_THD, k_TGD, v_TGD, out_THD, sums_TH)
        ctx.paths = paths
        return out_THD

    @staticmethod
    def backward(ctx: Any, do_THD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_THD, k_TGD, v_TGD, out_THD, sums_TH = ctx.saved_tensors
        do_THD = do_THD.contiguous()
        dq_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype)
        dk_TGD, dv_TGD = torch.zeros(k_TGD.shape), torch.zeros(v_TGD.shape)
        parts_Y = torch.empty(2, len(ctx.paths.rows_Y), *k_TGD.shape[1:])
        about = _about(ctx.paths, q_THD, k_TGD, v_TGD)
        about.o, about.d_o, about.dq = out_THD.data_ptr(), do_THD.data_ptr(), dq_THD.data_ptr()
        about.sums, about.dk_paths, about.dv_paths = sums_TH.data_ptr(), parts_Y[0].data_ptr(), parts_Y[1].data_ptr()
        sums = ctypes.c_void_p(dk_TGD.data_ptr()), ctypes.c_void_p(dv_TGD.data_ptr())
        _run("attend_branches_back", ctypes.byref(about), *sums)
        return dq_THD, dk_TGD.to(k_TGD.dtype), dv_TGD.to(v_TGD.dtype), None


def _about(paths: Paths, q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> _Attention:
    _, heads, width = q_THD.shape
    return _Attention(
        q=q_THD.data_ptr(),
        k=k_TGD.data_ptr(),
        v=v_TGD.data_ptr(),
        q_stride=q_THD.stride(0),
        k_stride=k_TGD.stride(0),
        v_stride=v_TGD.stride(0),
        paths=paths.rows_Y.data_ptr(),
        bounds=paths.bounds_B3.data_ptr(),
        branches=len(paths.bounds_B3),
        heads=heads,
        groups=k_TGD.shape[1],
        d=width,
        type=FLOATS[q_THD.dtype],
        threads=threads(),
        scale=width**-0.5,
    )


def _run(name: str, *values: Any) -> None:
    if getattr(library(), name)(*values):
        raise MemoryError("no room for the keys and values of a path")
