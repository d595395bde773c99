"""Writes small GGUF files for the tests."""

import struct
from collections.abc import Mapping
from typing import Any


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)


def gguf_bytes(metadata: Mapping[str, Any], offset: int = 0) -> bytes:
    """A GGUF file with one F32 tensor `t` of rows (1, 2), (3, 4), (5, 6), said to lie at `offset`."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    head += _text("t") + struct.pack("<IQQIQ", 2, 2, 3, 0, offset)
    return head + b"\0" * (-len(head) % 32) + struct.pack("<6f", 1, 2, 3, 4, 5, 6)
