"""Optional native kernels: C of a few pages, compiled once by this machine's own compiler, called through ctypes.

Torch spends most of a decode step between its operations, so what is small and repeated is fused here. Every kernel has
a plain torch path beside it, which is what runs on a GPU, without a compiler, or with ANUBHAV_NATIVE=0; the tests hold
the two against each other. The compiled library lies in the user's cache, named by a hash of all it was made from.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import torch
from platformdirs import user_cache_path
from torch import Tensor

_SOURCES: Final = Path(__file__).parent
_FLAGS: Final = ("-O3", "-march=native", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC")
_PATIENCE: Final = 120
"""Seconds for the compiler."""
_KINDS: Final = {"p": ctypes.c_void_p, "q": ctypes.c_int64, "i": ctypes.c_int, "f": ctypes.c_float}
_SIGNATURES: Final = {
    "paged_attend": "ppppppppqqqqqqqqqqfii",
    "draw": "ppppppqqii",
    "adapt": "ppppqpppqpqii",
    "few": "ppppqqqiii",
    "decode_stack": "pp",
    "norm": "pqppqpqqfq",
    "norm_back": "pqppqppqqq",
    "swiglu": "ppqqqq",
    "swiglu_back": "pppqqqq",
    "turn": "pqpqqqqppfq",
    "measure": "pqqqppq",
    "soften": "pqqqppq",
    "adamw": "pqffffffq",
}
"""The kinds of each kernel's arguments: pointer, 64-bit integer, integer, float."""

log = logging.getLogger(__name__)

FLOATS: Final = {torch.float32: 0, torch.bfloat16: 1}
"""How the kernels number the element types they know."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, built if need be; None when there is no way to."""
    if os.environ.get("ANUBHAV_NATIVE") == "0":
        return None
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        log.warning("No C compiler was found: decoding and training run in plain torch, which is slower")
        return None
    try:
        return _typed(ctypes.CDLL(str(_build(compiler))))
    except (OSError, subprocess.SubprocessError) as problem:
        log.warning("The native kernels could not be built, so plain torch is used: %s", problem)
        return None


def threads() -> int:
    """What the kernels' loops are given; torch's own choice."""
    return torch.get_num_threads()


def at(tensor: Tensor | None) -> int | None:
    """The address of a tensor's first element, or a null pointer. The tensor must outlive the call."""
    return None if tensor is None else tensor.data_ptr()


def fits(*tensors: Tensor) -> bool:
    """Whether the kernels can take these: on the CPU, of an element type they know, and laid out without gaps."""
    return all(t.device.type == "cpu" and t.dtype in FLOATS and t.is_contiguous() for t in tensors)


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, kinds in _SIGNATURES.items():
        kernel = getattr(library, name)
        kernel.argtypes, kernel.restype = [_KINDS[kind] for kind in kinds], ctypes.c_int
    return library


def _build(compiler: str) -> Path:
    sources = sorted(_SOURCES.glob("*.c"))
    headers = sorted(_SOURCES.glob("*.h"))
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=_PATIENCE).stdout
    parts = [*(file.read_bytes() for file in (*sources, *headers)), version, " ".join(_FLAGS).encode(), _processor()]
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    kept = user_cache_path("anubhav") / "kernels" / f"{name}.so"
    if not kept.exists():
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            built = Path(folder) / kept.name
            _compile([compiler, *_FLAGS, "-o", str(built), *map(str, sources), "-lm"])
            built.replace(kept)  # whole or not at all, also when two processes build at once
    return kept


def _compile(command: list[str]) -> None:
    """With OpenMP where the compiler has it."""
    for line in ([*command, "-fopenmp"], command):
        done = subprocess.run(line, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        if done.returncode == 0:
            return
    raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")


def _processor() -> bytes:
    """What -march=native depends on: a home folder may be shared by unlike machines."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {platform.processor()} {flags}".encode()
