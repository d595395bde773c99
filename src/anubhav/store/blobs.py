"""Bytes at rest, each under the hash of what it is: written beside, made durable, renamed. Equal bytes lie once."""

import hashlib
import os
from pathlib import Path

from anubhav.types.ids import new_id


class Blobs:
    """Synchronous; what needs to be decided about them is decided by whoever keeps their rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        if not (self._folder / digest).exists():
            draft = self._folder / f".{new_id('new')}"
            try:
                with draft.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                draft.rename(self._folder / digest)
            finally:
                draft.unlink(missing_ok=True)
            self._sync()
        return digest

    def get(self, digest: str) -> bytes | None:
        """None when there are no such bytes, or not these any more."""
        file = self._folder / digest
        data = file.read_bytes() if file.is_file() else None
        return data if data is not None and hashlib.sha256(data).hexdigest() == digest else None

    def drop(self, digest: str) -> None:
        (self._folder / digest).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """What lies here, drafts of a crash too."""
        return [file.name for file in self._folder.iterdir()]

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
