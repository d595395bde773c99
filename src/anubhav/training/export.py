"""Weights on their way out: files encrypted with age (age-encryption.org) to whom they are for, and the tar.gz that
SDKs before 0.30 download, packed while it is sent.
"""

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyrage

from anubhav.errors import BadInput

_AGE: Any = pyrage  # it comes without types
_MOST = 10
_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE


def check_recipients(recipients: Sequence[str]) -> None:
    """Raises BadInput for more than age recipients of the SDK's limit, and for what is none."""
    if len(recipients) > _MOST:
        raise BadInput(f"{len(recipients)} age recipients are more than {_MOST}", hint="Name fewer of them.")
    for recipient in recipients:
        _read(recipient)


def encrypt(folder: Path, recipients: Sequence[str]) -> None:
    """Replace every file of the folder by its encryption, named `<file>.age`."""
    keys = [_read(recipient) for recipient in recipients]
    for file in sorted(folder.iterdir()):
        _AGE.encrypt_file(str(file), f"{file}.age", keys)
        file.unlink()


def _read(recipient: str) -> Any:
    kind = _AGE.ssh if recipient.startswith("ssh-") else _AGE.x25519
    try:
        return kind.Recipient.from_str(recipient)
    except _AGE.RecipientError as problem:
        raise BadInput(
            f"{recipient[:100]!r} is no age recipient", hint="Give age1… keys or SSH public keys."
        ) from problem


def tar_gz(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """These files of a folder as a .tar.gz, without ever being whole in memory or on the disk."""
    squeeze = zlib.compressobj(1, wbits=31)
    for part in tar(folder, names):
        if packed := squeeze.compress(part):
            yield packed
    yield squeeze.flush()


def tar(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """The same without squeezing, which weights do not repay; `tar_size` is how long it is."""
    for name in names:
        yield _head(folder, name)
        with (folder / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield bytes(-(folder / name).stat().st_size % _BLOCK)
    yield bytes(2 * _BLOCK)


def tar_size(folder: Path, names: Sequence[str]) -> int:
    sizes = [(folder / name).stat().st_size for name in names]
    heads = [len(_head(folder, name)) for name in names]
    return sum(heads) + sum(size + -size % _BLOCK for size in sizes) + 2 * _BLOCK


def _head(folder: Path, name: str) -> bytes:
    head = tarfile.TarInfo(name)
    stat = (folder / name).stat()
    head.size, head.mtime = stat.st_size, int(stat.st_mtime)
    return head.tobuf()
