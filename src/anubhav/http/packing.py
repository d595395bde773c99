"""Request bodies that come compressed: unpacked piece by piece, so that a small one cannot become huge unnoticed."""

import sys
import zlib
from typing import Protocol

from anubhav.errors import BadInput
from anubhav.http.errors import UnknownEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HINT = "Send the body again, or without Content-Encoding."
_LARGEST_WINDOW = 25
"""The base-2 logarithm of the bytes a zstd frame may ask to keep while it is unpacked: 32 MB."""


class Unpacker(Protocol):
    def feed(self, piece: bytes, room: int) -> bytes:
        """What came out, at most one byte more than `room`: then the body is too large, and feeding ends."""
        ...

    def finish(self) -> None:
        """Raises BadInput if the body ended too early."""
        ...


def unpacker(encoding: str) -> Unpacker:
    """Raises UnknownEncoding for a Content-Encoding other than zstd, gzip and identity."""
    match encoding:
        case "identity" | "":
            return _Plain()
        case "zstd":
            return _Zstd()
        case "gzip" | "x-gzip":
            return _Gzip()
        case _:
            raise UnknownEncoding(
                f"Bodies in Content-Encoding {encoding[:50]!r} are not read here", hint="Use zstd or gzip, or none."
            )


class _Plain:
    def feed(self, piece: bytes, room: int) -> bytes:
        return piece

    def finish(self) -> None:
        pass


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW})

    def feed(self, piece: bytes, room: int) -> bytes:
        if self._inner.eof and piece:
            raise BadInput("Something follows the zstd frame of the body", hint="Send the body as one frame.")
        try:
            return self._inner.decompress(piece, max_length=room + 1) if piece else b""
        except zstd.ZstdError as problem:
            raise BadInput("The body is not valid zstd", hint=_HINT) from problem

    def finish(self) -> None:
        if not self._inner.eof or self._inner.unused_data:
            raise BadInput("The body is not one whole zstd frame", hint=_HINT)


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def feed(self, piece: bytes, room: int) -> bytes:
        try:
            return self._inner.decompress(piece, room + 1)
        except zlib.error as problem:
            raise BadInput("The body is not valid gzip", hint=_HINT) from problem

    def finish(self) -> None:
        if not self._inner.eof or self._inner.unused_data:
            raise BadInput("The body is not one whole gzip member", hint=_HINT)
