"""The machine: what it is, how many threads everybody gets, and its limits, measured beside what uses them."""

import os
import platform
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.stand.model import Shape
from benchmarks.stand.processes import Worker, worker

_ROWS = 2048


def hold_to(threads: int) -> None:
    """This process and everything it starts use so many threads, on so many processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(threads: int) -> dict[str, Any]:
    """What a reader needs to judge a figure; `busy` is the load of the last minute, our own included."""
    return {
        "processor": _processor(),
        "threads": threads,
        "busy": round(os.getloadavg()[0], 1),
        "system": platform.platform(),
    }


def commit() -> str:
    """Of the working copy that is measured; empty where there is none."""
    here = Path(__file__).parent
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    model = f"{found.get('model name', '?')} (family {found.get('cpu family')}, model {found.get('model')})"
    extra = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in found.get("flags", "").split()]
    return f"{model} {' '.join(extra)}"


class Limits:
    """The limits, each measured again whenever it is asked for."""

    def __init__(self, line: Worker, shape: Shape, seconds: float) -> None:
        self._line, self._shape, self._seconds = line, shape, seconds

    def gemm(self, dtype: str) -> float:
        """GFLOP/s."""
        shape = self._shape
        shapes = [
            (_ROWS, shape.hidden, 2 * shape.inner),
            (_ROWS, shape.inner, shape.hidden),
            (_ROWS, shape.hidden, shape.vocabulary),
        ]
        return self._line.call("gemm", shapes=shapes, dtype=dtype, seconds=self._seconds)

    def read(self) -> float:
        """GB/s."""
        return self._line.call("read", seconds=self._seconds)


@contextmanager
def limits(shape: Shape, *, seconds: float) -> Generator[Limits]:
    with worker(sys.executable, "limits", side="ours") as line:
        yield Limits(line, shape, seconds)
