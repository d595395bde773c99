"""Files that people upload: bytes under their hash, a row for each tenant that has them, gone for everybody else."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from anubhav.errors import BadInput, Broken, NotFound, Unavailable
from anubhav.store import uploads
from anubhav.store.blobs import Blobs
from anubhav.store.database import Database
from anubhav.training.quotas import check_storage
from anubhav.types.ids import new_id
from anubhav.types.tuning import Purpose, Upload

_LEAST, _MOST = 3600, 30 * 86_400
"""Seconds a file may be given to live."""
_LONGEST = 255
"""Characters of a name."""


class Uploads:
    def __init__(self, database: Database, folder: Path) -> None:
        """`folder`: the data folder."""
        self._database, self._blobs = database, Blobs(folder / "blobs")
        # Between the bytes and their row nobody may take the bytes for forgotten.
        self._keeping = asyncio.Lock()

    async def recover(self) -> None:
        """Remove what a crash or the time left without a row."""
        await self._sweep(await asyncio.to_thread(self._blobs.names))

    async def add(
        self,
        tenant: str,
        name: str,
        purpose: Purpose,
        data: bytes,
        *,
        ttl: int | None = None,
        known_as: str | None = None,
    ) -> Upload:
        """`known_as`: an id of its own making, so that adding it again adds nothing.

        Raises BadInput for an empty file and a time to live outside the limits, NotAllowed when the quota is full.
        """
        if not data:
            raise BadInput("The file is empty", hint="Send a file with something in it.")
        if ttl is not None and not _LEAST <= ttl <= _MOST:
            raise BadInput(f"A file lives {_LEAST} to {_MOST} seconds, not {ttl}", hint="Leave expires_after out.")
        await self._database.run(lambda c: check_storage(c, tenant, len(data)))
        now = time.time()
        async with self._keeping:
            try:
                digest = await asyncio.to_thread(self._blobs.put, data)
            except OSError as problem:
                raise Unavailable("The server cannot write to its disk now", hint="Repeat it in a moment.") from problem
            expires = None if ttl is None else now + ttl
            row = Upload(known_as or new_id("file"), tenant, name[:_LONGEST], purpose, digest, len(data), now, expires)
            await self._database.run(lambda c: uploads.add(c, row))
        await self._forget([])
        return row

    async def find(self, tenant: str, upload: str) -> Upload:
        found = await self._database.run(lambda c: uploads.find(c, tenant, upload))
        if found is None:
            raise NotFound(f"There is no file {upload[:100]!r}", hint="List yours: GET /v1/files.")
        return found

    async def page(
        self, tenant: str, purpose: str | None, after: str | None, limit: int, *, newest: bool = True
    ) -> Sequence[Upload]:
        return await self._database.run(lambda c: uploads.page(c, tenant, purpose, after, limit, newest=newest))

    async def read(self, digest: str) -> bytes:
        """Raises Broken when the bytes are not what was written."""
        data = await asyncio.to_thread(self._blobs.get, digest)
        if data is None:
            raise Broken("The bytes of this file are lost or damaged", hint="Upload it again.")
        return data

    async def delete(self, tenant: str, upload: str) -> None:
        """A job that has not ended still has the bytes."""
        found = await self.find(tenant, upload)
        await self._database.run(lambda c: uploads.drop(c, found.id))
        await self._forget([found.digest])

    async def let_go(self, *digests: str) -> None:
        """What a job that ended had kept."""
        await self._forget(digests)

    async def _forget(self, digests: Sequence[str]) -> None:
        """Drop these, unless they are still named, and what expired."""
        await self._sweep([*digests, *await self._database.run(uploads.expire)])

    async def _sweep(self, digests: Sequence[str]) -> None:
        async with self._keeping:
            named = await self._database.run(uploads.named)
            for digest in set(digests) - named:
                await asyncio.to_thread(self._blobs.drop, digest)
