"""Writes GGUF files (ggml's docs/gguf.md, version 3, little-endian) of F32 tensors.

The `gguf` package would do it too; it needs numpy, which is larger than all that Anubhav installs beside torch.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ALIGNMENT = 32
_F32 = 0


@dataclass(frozen=True, slots=True)
class Matrix:
    """F32 values at rest, row-major."""

    name: str
    shape: tuple[int, int]
    values: bytes | memoryview


def write(path: Path, metadata: Mapping[str, str | int | float], tensors: Sequence[Matrix]) -> None:
    """`metadata` values become strings, uint32 and float32."""
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(_text(key) + _value(value))
        offset = 0
        for tensor in tensors:
            # The file counts dimensions from the fastest one.
            file.write(_text(tensor.name) + struct.pack("<IQQIQ", 2, *tensor.shape[::-1], _F32, offset))
            offset += _padded(4 * tensor.shape[0] * tensor.shape[1])
        for tensor in tensors:
            file.write(bytes(_padded(file.tell()) - file.tell()))
            file.write(tensor.values)
        file.write(bytes(_padded(file.tell()) - file.tell()))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _value(value: str | float) -> bytes:
    match value:
        case str():
            return struct.pack("<I", 8) + _text(value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
