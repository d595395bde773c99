"""A backup's archive: read once, every file compared with the list of hashes at its end."""

import hashlib
import os
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from anubhav.errors import Broken

_SUMS = "SHA256SUMS"
_PIECE = 1 << 20
_HINT = "Use another backup."


def verify(archive: Path) -> tuple[int, int]:
    """(files, bytes). Raises Broken for an archive that is cut short or is not what was written."""
    return _read(archive, None)


def unpack(archive: Path, folder: Path) -> tuple[int, int]:
    """Into an empty folder, durably; raises as `verify` does, and what lies in the folder then is of no use."""
    return _read(archive, folder)


def _read(archive: Path, folder: Path | None) -> tuple[int, int]:
    found: dict[str, str] = {}
    size = 0
    sums = None
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None or member.name.startswith("/") or ".." in Path(member.name).parts:
                    raise Broken(f"{archive} holds {member.name[:200]!r}, which no backup of ours does", hint=_HINT)
                if member.name == _SUMS:
                    sums = content.read().decode()
                    continue
                size += member.size
                with _placed(folder, member) as out:
                    found[member.name] = _copy(content, out)
    except (tarfile.TarError, UnicodeDecodeError, EOFError) as problem:
        raise Broken(f"{archive} is no whole tar archive ({problem})", hint=_HINT) from problem
    if sums is None:
        raise Broken(f"{archive} ends before its list of hashes", hint=_HINT)
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in sums.splitlines())}
    if wrong := sorted(name for name in {*listed, *found} if listed.get(name) != found.get(name)):
        raise Broken(f"{wrong[0]} in {archive} is not what was backed up", hint=_HINT)
    return len(found), size


@contextmanager
def _placed(folder: Path | None, member: tarfile.TarInfo) -> Generator[BinaryIO | None]:
    """The member's file, open to be written; None without a folder."""
    if folder is None:
        yield None
        return
    place = folder / member.name
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _copy(content: IO[bytes], out: BinaryIO | None) -> str:
    digest = hashlib.sha256()
    while piece := content.read(_PIECE):
        digest.update(piece)
        if out is not None:
            out.write(piece)
    return digest.hexdigest()
