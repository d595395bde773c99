"""The header of a GGUF file: its metadata and where each tensor lies, with every length checked before it is used.

Format: ggml's docs/gguf.md, versions 2 and 3, little-endian. Tensor values are not read here.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anubhav.errors import BadInput

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# ggml type number → its name, values per block, bytes per block (ggml.h, ggml-common.h).
_KINDS = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    30: ("BF16", 1, 2),
}
_MAX_ENTRIES = 100_000
_MAX_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class TensorInfo:
    name: str
    shape: tuple[int, ...]
    """Row-major, as torch has it: the reverse of what the file says."""
    kind: str
    """ggml's name of the number format, such as `F32` or `Q4_1`."""
    offset: int
    """Bytes from the start of the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Gguf:
    metadata: Mapping[str, Any]
    """Numbers, booleans, strings, and lists of them."""
    tensors: tuple[TensorInfo, ...]


def read(path: Path) -> Gguf:
    """Raises BadInput for a file that is not GGUF, is cut off, or points outside itself."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Cursor(data).header()
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise _damaged(str(error)) from error


def _damaged(why: str) -> BadInput:
    return BadInput(f"This is not a whole GGUF file: {why}", hint="Download it again.")


class _Cursor:
    """Reads forward through the file; struct and the checks here refuse to read past its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def header(self) -> Gguf:
        magic, version, tensors, entries = self._take("4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise _damaged("it does not begin with GGUF version 2 or 3")
        if max(tensors, entries) > _MAX_ENTRIES:
            raise _damaged(f"it claims {tensors} tensors and {entries} metadata entries")
        metadata = {self._string(): self._value(self._one("I")) for _ in range(entries)}
        infos = [self._tensor() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise _damaged("its alignment is not a positive number")
        start = -(-self._at // alignment) * alignment
        return Gguf(metadata, tuple(self._placed(info, start) for info in infos))

    def _placed(self, info: TensorInfo, start: int) -> TensorInfo:
        placed = TensorInfo(info.name, info.shape, info.kind, start + info.offset, info.size)
        if placed.offset + placed.size > len(self._data):
            raise _damaged(f"tensor {info.name[:100]!r} ends beyond the end of the file")
        return placed

    def _tensor(self) -> TensorInfo:
        name, dimensions = self._string(), self._one("I")
        if dimensions > _MAX_DIMENSIONS:
            raise _damaged(f"tensor {name[:100]!r} has {dimensions} dimensions")
        shape: tuple[int, ...] = self._take(f"{dimensions}Q")
        number, offset = self._take("IQ")
        if number not in _KINDS:
            raise BadInput(f"GGUF tensor format number {number} is not known", hint="Use an F16, BF16 or Q8_0 file.")
        kind, values, width = _KINDS[number]
        if shape and shape[0] % values:
            raise _damaged(f"a row of tensor {name[:100]!r} is no whole number of {kind} blocks")
        return TensorInfo(name, shape[::-1], kind, offset, math.prod(shape) // values * width)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._one(_scalar(kind))
        inner, count = self._take("IQ")
        if count > len(self._data) - self._at:
            raise _damaged(f"a list claims {count} entries")
        if inner == _STRING:
            return [self._string() for _ in range(count)]
        return list(self._take(f"{count}{_scalar(inner)}"))

    def _string(self) -> str:
        length = self._one("Q")
        end = self._at + length
        if end > len(self._data):
            raise _damaged(f"a text claims {length} bytes")
        text = self._data[self._at : end].decode()
        self._at = end
        return text

    def _one(self, code: str) -> Any:
        return self._take(code)[0]

    def _take(self, codes: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + codes, self._data, self._at)
        self._at += struct.calcsize("<" + codes)
        return values


def _scalar(kind: int) -> str:
    if kind not in _SCALARS:
        raise _damaged(f"a metadata value has the unknown type {kind}")
    return _SCALARS[kind]
