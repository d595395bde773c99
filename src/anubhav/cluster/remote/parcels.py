"""Folders of adapter files as values, so that they travel without a shared disk. They hold adapters, never a base."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

Parcel = dict[str, bytes]
"""File name → content; a folder of adapters has no folders in it."""


def pack(folder: Path) -> Parcel:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


def unpack(parcel: Parcel, into: Path) -> None:
    for name, content in parcel.items():
        (into / name).write_bytes(content)


@contextmanager
def unpacked(parcel: Parcel) -> Generator[Path]:
    """A folder with these files, for as long as it is read."""
    with tempfile.TemporaryDirectory(prefix="anubhav-adapter-") as folder:
        unpack(parcel, Path(folder))
        yield Path(folder)
