"""Saved adapters: written beside, made durable, renamed, and only then told of. Verified before they are used."""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from anubhav.errors import BadInput, Broken, NotAllowed, NotFound, Unavailable
from anubhav.store import checkpoints as shelf
from anubhav.store.database import Database
from anubhav.types.checkpoints import Checkpoint, checked_ttl, parse_path
from anubhav.types.ids import AdapterId, RunId, new_id
from anubhav.types.operations import Files

_WEIGHTS = "adapter_model.safetensors"
_PARTS = ("checkpoints", "snapshots")
_FULL = 1 << 20
"""A disk with fewer free bytes than this is full."""

Write = Callable[[Path], Awaitable[None]]


class Checkpoints:
    def __init__(self, database: Database, folder: Path) -> None:
        """`folder`: the data folder; checkpoints and snapshots lie in two folders of it."""
        self._database, self._root = database, folder
        self._verified: set[str] = set()
        for part in _PARTS:
            (folder / part).mkdir(parents=True, exist_ok=True)

    async def find(self, tenant: str | None, path: str) -> Checkpoint:
        """Raises BadInput for a malformed path; NotFound when absent, or another tenant's and not public.

        `tenant` is None for whoever may see everybody's.
        """
        return (await self._find(tenant, path))[0]

    async def _find(self, tenant: str | None, path: str) -> tuple[Checkpoint, dict[str, str]]:
        name = str(parse_path(path))
        found = await self._database.run(lambda c: shelf.find(c, name))
        if found is None or (tenant not in (None, found[0].tenant) and not found[0].public):
            raise NotFound(f"There is no checkpoint {name}", hint="List yours with `tinker checkpoint list`.")
        return found

    async def list(self, tenant: str, run: RunId | None) -> list[Checkpoint]:
        return await self._database.run(lambda c: shelf.list_of(c, tenant, run))

    async def folder(self, checkpoint: Checkpoint) -> Path:
        """Where its files lie. Raises Broken, naming the file, if they are not what was saved.

        BadInput for external weights, which may be encrypted and are for downloading alone.
        """
        if checkpoint.path.kind == "external_weights":
            raise BadInput(f"{checkpoint.path} can only be downloaded", hint="Use a checkpoint that is not external.")
        return (await self.files(checkpoint))[0]

    async def keep(self, tenant: str, path: str) -> tuple[Checkpoint, Files]:
        """What `find` and `folder` find, to `reopen` when the checkpoint is gone; a pin must hold the folder."""
        found, manifest = await self._find(tenant, path)
        await self.folder(found)
        return found, Files(found.folder, manifest)

    async def files(self, checkpoint: Checkpoint) -> tuple[Path, tuple[str, ...]]:
        """The folder and the names of the files in it, whatever the kind; verified like `folder`."""
        found = await self._database.run(lambda c: shelf.find(c, str(checkpoint.path)))
        if found is None:
            raise NotFound(f"The checkpoint {checkpoint.path} was deleted", hint="Save it again.")
        await asyncio.to_thread(self.verify, checkpoint.folder, found[1])
        return self._root / checkpoint.folder, tuple(found[1])

    async def linked(self, path: str, folder: str) -> tuple[Path, tuple[str, ...]]:
        """The `files` a link was given for; NotFound when they were deleted or replaced since."""
        found = await self._database.run(lambda c: shelf.find(c, path))
        if found is None or found[0].folder != folder:
            raise NotFound("What this address led to is not there any more", hint="Ask for a new one.")
        return await self.files(found[0])

    def verify(self, folder: str, manifest: dict[str, str]) -> None:
        """Compare the files with their hashes, once in the life of the process."""
        if folder in self._verified:
            return
        for name, digest in manifest.items():
            file = self._root / folder / name
            if not file.is_file() or _hash(file) != digest:
                raise Broken(f"The saved file {name} is not what was written", hint="Use an earlier checkpoint.")
        self._verified.add(folder)

    async def delete(self, tenant: str, path: str) -> None:
        """Raises NotFound unless `tenant` owns it, NotAllowed while an alias answers with it."""
        found = await self._own(tenant, path)
        if not await self._database.run(lambda c: shelf.drop(c, str(found.path))):
            raise NotAllowed(f"{found.path} is live", hint="Roll the alias back or promote another one first.")
        await self.drop_folder(found.folder)

    async def share(self, tenant: str, path: str, *, public: bool) -> None:
        """Let every tenant read it, or its owner alone. Raises NotFound unless `tenant` owns it."""
        found = await self._own(tenant, path)
        await self._database.run(lambda c: shelf.set_public(c, str(found.path), public=public))

    async def set_ttl(self, tenant: str, path: str, seconds: int | None) -> None:
        """Counted from now; None: it stays until it is deleted."""
        found = await self._own(tenant, path)
        until = None if checked_ttl(seconds) is None else time.time() + (seconds or 0)
        await self._database.run(lambda c: shelf.set_expiry(c, str(found.path), until))

    async def _own(self, tenant: str, path: str) -> Checkpoint:
        found, _ = await self._find(tenant, path)
        if found.tenant != tenant:
            raise NotFound(f"There is no checkpoint {found.path} of yours", hint="Only its owner can change it.")
        return found

    async def expire(self) -> None:
        """Remove the files and rows of what is past its time; nobody has found those rows since."""
        for folder in await self._database.run(shelf.expire):
            await self.drop_folder(folder)

    async def write(self, part: str, write: Write) -> tuple[str, dict[str, str], int]:
        """Let `write` fill a folder and make it durable: (folder, hash of each file, bytes). The row is the caller's.

        Raises Unavailable when the disk is full.
        """
        return await self.publish(await self.draft(part, write))

    async def draft(self, part: str, write: Write) -> Path:
        """The first half: a folder that is filled and not yet durable."""
        draft = self._root / part / f".{new_id('new')}"
        with _cleared(draft):
            draft.mkdir()
            await write(draft)
        return draft

    async def publish(self, draft: Path) -> tuple[str, dict[str, str], int]:
        """The second half."""
        folder = f"{draft.parent.name}/{new_id('ck')}"
        with _cleared(draft):
            manifest, size = await asyncio.to_thread(_seal, draft, self._root / folder)
        self._verified.add(folder)
        return folder, manifest, size

    async def sweep(self) -> None:
        """Remove what a crash left between the files and their row. Only before anything is written."""
        await self.expire()
        named = await self._database.run(shelf.folders)
        found = [f"{part}/{entry.name}" for part in _PARTS for entry in (self._root / part).iterdir()]
        for folder in set(found) - named:
            await self.drop_folder(folder)

    async def drop_folder(self, folder: str) -> None:
        """Remove it, unless a copy still names it."""
        if await self._database.run(lambda c: shelf.named(c, folder)):
            return
        self._verified.discard(folder)
        await asyncio.to_thread(shutil.rmtree, self._root / folder, ignore_errors=True)

    async def reopen(self, files: Files) -> Path:
        """Where they lie, whether a checkpoint still names them or not; verified like `folder`."""
        await asyncio.to_thread(self.verify, files.folder, dict(files.manifest))
        return self._root / files.folder

    def path_of(self, folder: str) -> Path:
        return self._root / folder


def adapter_id(manifest: dict[str, str]) -> AdapterId:
    """What samplers call these weights."""
    digest = manifest.get(_WEIGHTS) or manifest[f"{_WEIGHTS}.age"]
    return AdapterId(f"ad_{digest[:24]}")


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _seal(draft: Path, final: Path) -> tuple[dict[str, str], int]:
    """Files, then their folder, then its new name: each is on the disk before the next is begun."""
    manifest: dict[str, str] = {}
    size = 0
    for file in sorted(draft.iterdir()):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        manifest[file.name] = _hash(file)
        size += file.stat().st_size
    _sync(draft)
    draft.rename(final)
    _sync(final.parent)
    return manifest, size


@contextmanager
def _cleared(draft: Path) -> Generator[None]:
    """Removes the draft when its making fails."""
    try:
        yield
    except BaseException as problem:
        # Native writers wrap a full disk in errors of their own, so the disk itself is asked.
        full = isinstance(problem, Exception) and shutil.disk_usage(draft.parent).free < _FULL
        shutil.rmtree(draft, ignore_errors=True)
        if full:
            raise Unavailable("The server's disk is full", hint="Free some space in the data folder.") from problem
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
