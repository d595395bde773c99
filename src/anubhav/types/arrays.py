"""Arrays at rest: a dtype, a shape and little-endian bytes.

The same value crosses the wire, the journal and a port without a conversion, and no room below the backends needs
a tensor library to carry it.
"""

import array
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Dtype = Literal["float32", "int64", "int32"]
_CODES: dict[Dtype, str] = {"float32": "f", "int64": "q", "int32": "i"}
_WIDTHS: dict[Dtype, int] = {"float32": 4, "int64": 8, "int32": 4}

assert sys.byteorder == "little", "Anubhav stores arrays in the machine's order and needs a little-endian machine"


@dataclass(frozen=True, slots=True)
class Array:
    dtype: Dtype
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != math.prod(self.shape) * _WIDTHS[self.dtype]:
            raise ValueError(f"{len(self.data)} bytes cannot be a {self.dtype} array of shape {self.shape}")

    def __len__(self) -> int:
        return self.shape[0]

    def tolist(self) -> list[float] | list[int]:
        """The values in row-major order, flat."""
        values: array.array[float] | array.array[int] = array.array(_CODES[self.dtype])
        values.frombytes(self.data)
        return values.tolist()


def floats(values: Iterable[float], shape: tuple[int, ...] | None = None) -> Array:
    """A float32 array; one-dimensional unless `shape` says otherwise."""
    packed = array.array("f", values)
    return Array("float32", shape or (len(packed),), packed.tobytes())


def ints(values: Iterable[int], shape: tuple[int, ...] | None = None) -> Array:
    """An int64 array; one-dimensional unless `shape` says otherwise."""
    packed = array.array("q", values)
    return Array("int64", shape or (len(packed),), packed.tobytes())
