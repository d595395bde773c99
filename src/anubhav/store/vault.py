"""The vault: a copy of the data folder as it stood at one moment, while the server goes on.

The database is copied page by page between other works, and what is written meanwhile is in the copy too. The moment it
is whole, before any other work runs, the files are linked: they never change once a row names them, so their names are
enough, and a file that is deleted later stays in the copy. What leaves here is a tar archive that ends with the hash of
each file, in the form `sha256sum --check` reads.
"""

import asyncio
import hashlib
import os
import shutil
import tarfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from anubhav.store.database import Database
from anubhav.store.leading import refuse_rows_elsewhere
from anubhav.types.ids import new_id

DATABASE = "anubhav.db"
SUMS = "SHA256SUMS"
_LIVE = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm")
_LEFT_OUT = ("models", "metrics", "trackers", "exports", *_LIVE)
"""Models can be fetched again and exports made again, metrics are in the database, which is copied by itself; a
tracker's files grow."""
_PIECE = 1 << 20
_BLOCK = 512


class Vault:
    def __init__(self, database: Database, folder: Path) -> None:
        """`folder` is the data folder. What a copy that was cut short has left there is removed."""
        self._database, self._folder = database, folder
        for left in folder.glob(".backup-*"):
            shutil.rmtree(left, ignore_errors=True)

    def pack(self) -> AsyncGenerator[bytes]:
        """The archive, in pieces. Raises BadInput where the rows are not in the folder."""
        refuse_rows_elsewhere(self._folder)
        return self._pack()

    async def _pack(self) -> AsyncGenerator[bytes]:
        draft = self._folder / f".{new_id('backup').replace('_', '-')}"
        draft.mkdir(mode=0o700)
        try:
            await self._database.copy(draft / DATABASE, lambda: _link(self._folder, draft))
            sums: list[str] = []
            for file in sorted(_files(draft)):
                name, digest = file.relative_to(draft).as_posix(), hashlib.sha256()
                yield _head(name, file)
                with file.open("rb") as stream:
                    while piece := await asyncio.to_thread(stream.read, _PIECE):
                        digest.update(piece)
                        yield piece
                yield _padding(file.stat().st_size)
                sums.append(f"{digest.hexdigest()}  {name}\n")
            (draft / SUMS).write_text("".join(sums), encoding="utf-8")
            content = (draft / SUMS).read_bytes()
            yield _head(SUMS, draft / SUMS) + content + _padding(len(content)) + bytes(2 * _BLOCK)
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)


def _link(folder: Path, draft: Path) -> None:
    for file in _files(folder, _LEFT_OUT):
        place = draft / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):  # no row named it any more, and it is removed just now
            _share(file, place)


def _share(file: Path, place: Path) -> None:
    try:
        os.link(file, place, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copy2(file, place)


def _files(folder: Path, without: Sequence[str] = ()) -> Iterator[Path]:
    """Those that are finished: drafts and other copies begin with a dot."""
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in without:
            continue
        if entry.is_dir():
            yield from _files(entry)
        elif entry.is_file():
            yield entry


def _head(name: str, file: Path) -> bytes:
    about = file.stat()
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = about.st_size, int(about.st_mtime), about.st_mode & 0o700
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
