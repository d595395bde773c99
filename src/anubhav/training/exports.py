"""Checkpoints in forms that others read, merged or GGUF: asked for, made beside the server, fetched, and removed later.

What was made can be made again, so that no row names it: a restart forgets it, with its files.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from anubhav.errors import AnubhavError, BadInput, Busy, Gone, NotAllowed, NotFound, Unavailable
from anubhav.store import usage
from anubhav.store.database import Connection, Database
from anubhav.training.checkpoints import Checkpoints
from anubhav.training.quotas import check_storage
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.ids import AdapterId, new_id
from anubhav.types.models import Model, Principal

Form = Literal["merged", "gguf"]
Make = Callable[[Path, Model, Path, Form], Awaitable[None]]
"""Writes the first folder's adapter, of that base model, into the second folder."""
KEPT_SECONDS = 3600.0
_WAITING, _SHOWN = 4, 20
_SPARE = 100_000_000
"""Bytes of the disk that are left to others."""


@dataclass(frozen=True, slots=True)
class Export:
    id: str
    tenant: str
    """Who asked for it."""
    path: str
    form: Form
    adapter: AdapterId
    expected_bytes: int
    """About what it takes."""
    asked_at: float
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    written_bytes: int = 0
    failure: str = ""
    expires_at: float | None = None
    """When its files go; fetching them puts it off."""


class Exports:
    def __init__(
        self,
        database: Database,
        checkpoints: Checkpoints,
        folder: Path,
        models: Mapping[str, Model],
        make: Make,
        *,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        """`folder`: the data folder; exports lie in a folder of it, which is emptied here."""
        self._database, self._checkpoints, self._models, self._make = database, checkpoints, models, make
        self._seconds = kept_seconds
        self._folder = folder / "exports"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)
        self._turn, self._asking = asyncio.Lock(), asyncio.Lock()
        self._kept: dict[str, Export] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, who: Principal, checkpoint: Checkpoint, form: Form) -> Export:
        """The tenant's own that is there or under way, or a new one: they are made one at a time.

        Raises BadInput for what can only be downloaded as it is, NotFound for a base model that is not served,
        NotAllowed for a full quota and for weights that are not theirs, Unavailable for a full disk, Busy when several
        wait.
        """
        if form == "merged" and not who.operator:
            raise NotAllowed(
                "Merged weights hold the base model, which is the operator's to give away",
                hint="Ask for gguf, take the archive, or use `anubhav export --as merged` where you have the model.",
            )
        return await self._ask(who.tenant, checkpoint, form)

    async def _ask(self, tenant: str, checkpoint: Checkpoint, form: Form) -> Export:
        async with self._asking:
            for one in self._kept.values():
                same = (one.tenant, one.adapter, one.form) == (tenant, checkpoint.adapter, form)
                if same and one.path == str(checkpoint.path) and one.state != "failed":
                    return one
            if sum(one.state in ("waiting", "running") for one in self._kept.values()) >= _WAITING:
                raise Busy("Several exports are being made", hint="Wait for one of them.", retry_after=10)
            base = self._models.get(checkpoint.base_model)
            if base is None:
                raise NotFound(
                    f"Its base model {checkpoint.base_model} is not served here",
                    hint="Start the server with it, or use `anubhav export` where the model is.",
                )
            source = await self._checkpoints.folder(checkpoint)
            size = await asyncio.to_thread(_weights, source if form == "gguf" else base.folder)
            self._check_disk(size)
            await self._database.run(lambda c: self._admit(c, tenant, checkpoint, form, size))
            export = Export(new_id("exp"), tenant, str(checkpoint.path), form, checkpoint.adapter, size, time.time())
            self._kept[export.id] = export
            self._tasks[export.id] = asyncio.create_task(self._run(export, checkpoint, base), name=export.id)
            return export

    def find(self, tenant: str | None, name: str) -> Export:
        """With the bytes that are written by now. `tenant` is None for whoever may see everybody's."""
        one = self._kept.get(name)
        if one is None or tenant not in (None, one.tenant):
            raise NotFound(f"There is no export {name[:100]}", hint="They are kept for a while only: ask for it again.")
        return replace(one, written_bytes=_size(self._place(name)))

    def list(self, tenant: str | None, path: str | None = None) -> Sequence[Export]:
        """Newest first; of one checkpoint when its path is given."""
        found = [name for name, one in self._kept.items() if tenant in (None, one.tenant) and path in (None, one.path)]
        return [self.find(tenant, name) for name in found[::-1][:_SHOWN]]

    def files(self, tenant: str | None, name: str) -> tuple[Export, Path, tuple[str, ...]]:
        """The folder and the names in it, which stay as long again from now. Raises Gone for what came to nothing."""
        one = self.find(tenant, name)
        if one.state == "failed":
            raise Gone(f"This export failed: {one.failure}", hint="Ask for another.")
        if one.state != "done":
            raise Unavailable("This export is being made", hint=f"Look at GET /v1/exports/{name} until it is done.")
        self._kept[name] = replace(self._kept[name], expires_at=time.time() + self._seconds)
        place = self._place(name)
        return one, place, tuple(sorted(file.name for file in place.iterdir()))

    async def drop(self, tenant: str | None, name: str) -> None:
        """Give it up, or remove what was made."""
        self.find(tenant, name)
        await self._end(name)

    async def stop(self) -> None:
        for name in list(self._tasks):
            await self._end(name)

    async def _end(self, name: str) -> None:
        if task := self._tasks.get(name):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._kept.pop(name, None)

    async def _run(self, export: Export, checkpoint: Checkpoint, base: Model) -> None:
        """From its turn to its end."""
        place = self._place(export.id)
        try:
            async with self._turn:
                self._kept[export.id] = replace(export, state="running")
                await self._build(export, checkpoint, base, place)
            self._kept[export.id] = replace(export, state="done", expires_at=time.time() + self._seconds)
            # A fetch puts the end off meanwhile.
            while (left := (self._kept[export.id].expires_at or 0.0) - time.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left)
            del self._kept[export.id]
        except AnubhavError as problem:
            self._kept[export.id] = replace(export, state="failed", failure=str(problem))
            self._forget()
        finally:
            del self._tasks[export.id]
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    async def _build(self, export: Export, checkpoint: Checkpoint, base: Model, place: Path) -> None:
        """From the checkpoint as it is now, should it have been deleted meanwhile."""
        self._check_disk(export.expected_bytes)
        source = await self._checkpoints.folder(checkpoint)
        try:
            await asyncio.to_thread(place.mkdir, 0o700)
            await self._make(source, base, place, export.form)
        except OSError as problem:
            raise Unavailable("The server cannot write to its disk now", hint="Repeat it in a moment.") from problem

    def _admit(self, connection: Connection, tenant: str, checkpoint: Checkpoint, form: Form, size: int) -> None:
        """Other exports of the tenant count too: they lie on the same disk."""
        held = sum(one.expected_bytes for one in self._kept.values() if one.tenant == tenant and one.state != "failed")
        check_storage(connection, tenant, held + size)
        about = {"tinker_path": str(checkpoint.path), "model_id": checkpoint.path.run, "form": form}
        usage.note(connection, tenant, "checkpoint_export", about)

    def _check_disk(self, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < size + _SPARE:
            raise Unavailable(
                f"This export takes {size / 1e9:.1f} GB and the server's disk has {free / 1e9:.1f} GB free",
                hint="Free some space there, or use `anubhav export`, which writes where you are.",
            )

    def _forget(self) -> None:
        """The oldest of those that failed."""
        failed = [name for name, one in self._kept.items() if one.state == "failed"]
        for name in failed[:-_SHOWN]:
            del self._kept[name]

    def _place(self, name: str) -> Path:
        return self._folder / name


def _weights(folder: Path) -> int:
    """Bytes of its weights. Raises BadInput for a model that has none to merge with."""
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.name != "optimizer.safetensors")
    if not size:
        raise BadInput("The base model's folder has no weights in safetensors", hint="Pull the model again.")
    return size


def _size(folder: Path) -> int:
    size = 0
    with suppress(FileNotFoundError):  # what failed is removed while one looks
        for file in folder.iterdir():
            size += file.stat().st_size
    return size
