"""Which number format a model computes in: float32 or bfloat16.

In bfloat16 the frozen weights and all matrix products are bfloat16; what is added up over the layers, the norms' sums,
the softmax, and all that a LoRA adapter learns with (parameters, gradients, moments) stay float32. `docs/precision.md`
says how far sampler and trainer then agree.
"""

import functools
import logging

import torch

log = logging.getLogger(__name__)


def chosen(name: str | None, device: torch.device) -> torch.dtype:
    """The type called `name`; without one, float32 on a CPU and bfloat16 elsewhere.

    A CPU without units for bfloat16 computes in float32 whatever was asked for, and the log says so once.
    """
    if name is None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name == "bfloat16" and device.type == "cpu" and not has_bfloat16():
        _tell()
        return torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself; emulated it would be slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@functools.cache
def _tell() -> None:
    log.warning("This CPU has no units for bfloat16 (AVX512-BF16 or AMX), so float32 is used")
