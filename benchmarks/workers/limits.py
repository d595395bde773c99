"""The machine's own limits: matrix products as the engine could at best do them, and reading memory."""

import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.stand.jobs import answer_jobs

_MEGABYTES = 512


def gemm(shapes: list[list[int]], dtype: str, seconds: float) -> float:
    """GFLOP/s of the fastest shape, its median; a shape is (rows, inputs, outputs), the weight oneDNN's own layout."""
    return max(_gemm(*shape, getattr(torch, dtype), seconds / len(shapes)) for shape in shapes)


def _gemm(rows: int, inputs: int, outputs: int, dtype: torch.dtype, seconds: float) -> float:
    weight, x = torch.randn(outputs, inputs, dtype=dtype), torch.randn(rows, inputs, dtype=dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    took = _times(lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""), seconds)
    return 2 * rows * inputs * outputs / took / 1e9


def read(seconds: float) -> float:
    """GB/s of reading an array far larger than the caches once; the better of two ways."""
    x = torch.ones(_MEGABYTES << 18)
    ways: tuple[Callable[[], object], ...] = (x.sum, lambda: torch.dot(x, x))
    return max(x.numel() * 4 / _times(way, seconds / len(ways)) / 1e9 for way in ways)


def _times(work: Callable[[], object], seconds: float) -> float:
    """The median of as many repetitions as fit, and of at least three."""
    work()
    took: list[float] = []
    until = time.perf_counter() + seconds
    while len(took) < 3 or time.perf_counter() < until:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return median(took)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    answer_jobs({"gemm": gemm, "read": read})
