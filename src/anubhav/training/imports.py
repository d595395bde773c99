"""Weights on their way in: an adapter from elsewhere is unpacked with suspicion, brought to our form by the trainer,
and kept as a checkpoint in a run of its own, which holds nothing else and cannot be trained itself.
"""

import asyncio
import gzip
import json
import math
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from anubhav.errors import BadInput, TooLarge
from anubhav.ports import Trainer
from anubhav.store.database import Database
from anubhav.training.checkpoints import Checkpoints
from anubhav.training.copies import Foundling, hold
from anubhav.training.limits import Limits
from anubhav.types.arrays import floats, ints
from anubhav.types.checkpoints import TinkerPath, checked_name
from anubhav.types.ids import AdapterId, RunId, new_id
from anubhav.types.training import Datum, Pass

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
FILES = (WEIGHTS, CONFIG)
"""What is taken from an archive; nothing else in it is ever written."""
MAX_UNPACKED = 1 << 30
_MAX_MEMBERS, _MAX_TEXT, _CHUNK = 1000, 1 << 20, 1 << 20
_SAVE_AGAIN = "Save the adapter with PEFT's save_pretrained and pack its folder as .tar.gz."


@dataclass(frozen=True, slots=True)
class Import:
    tenant: str
    name: str
    """Of the checkpoint."""
    base_model: str | None = None
    """None: the one that its adapter_config.json names, or else the only one served."""


class Imports:
    def __init__(
        self, database: Database, trainers: Mapping[str, Trainer], checkpoints: Checkpoints, limits: Limits
    ) -> None:
        self._database, self._trainers, self._checkpoints, self._limits = database, trainers, checkpoints, limits

    async def take(self, wanted: Import, archive: BinaryIO) -> TinkerPath:
        """The `weights` checkpoint made of a .tar.gz with PEFT's two files. Its optimizer begins anew.

        Raises BadInput, and leaves nothing, for what is not safe to unpack, not plain LoRA, or not of this base model.
        """
        checked_name(wanted.name)
        outside = await self._checkpoints.draft("checkpoints", lambda to: asyncio.to_thread(unpack, archive, to))
        try:
            base = await asyncio.to_thread(self._look, wanted, outside)
            return await self._keep(wanted, base, outside)
        finally:
            await asyncio.to_thread(shutil.rmtree, outside, ignore_errors=True)

    def _look(self, wanted: Import, outside: Path) -> str:
        """The base model. Raises BadInput for what must not reach the trainer."""
        if lacks := [name for name in FILES if not (outside / name).is_file()]:
            raise BadInput(f"There is no {' and no '.join(lacks)} in the archive", hint=_SAVE_AGAIN)
        base = self._base(wanted, outside)
        rank = max_rank(outside / WEIGHTS, _experts(self._limits.models[base].folder))
        if rank > self._limits.max_rank:
            raise BadInput(f"rank {rank} is more than {self._limits.max_rank}", hint="Train or compress it to less.")
        return base

    def _base(self, wanted: Import, outside: Path) -> str:
        served = self._limits.models
        named = wanted.base_model or _object((outside / CONFIG).read_bytes()).get("base_model_name_or_path")
        if isinstance(named, str) and named in served:
            return named
        if wanted.base_model is None and len({model.folder for model in served.values()}) == 1:
            return next(iter(served))
        raise BadInput(
            f"The base model {str(named)[:200]!r} is not served here", hint=f"Name one of: {', '.join(served)}."
        )

    async def _keep(self, wanted: Import, base: str, outside: Path) -> TinkerPath:
        trainer = self._trainers[base]
        path = TinkerPath(RunId(f"{new_id('ses')}:train:0"), "weights", wanted.name)

        async def bring(adapter: AdapterId) -> None:
            await trainer.load(adapter, outside, optimizer=False)
            await prove(trainer, adapter)

        found = Foundling(wanted.tenant, base, path, "import")
        await hold(self._database, self._checkpoints, trainer, found, bring)
        return path


async def prove(trainer: Trainer, adapter: AdapterId) -> None:
    """One token through the whole model: a value that is not finite anywhere comes out at its end."""
    datum = Datum((0,), {"target_tokens": ints([0]), "weights": floats([1.0])})
    (result,) = await trainer.run([Pass(adapter, (datum,), "cross_entropy", backward=False)])
    if result.failure:
        raise result.failure
    if not math.isfinite(result.metrics["loss:sum"]):
        raise BadInput("The adapter's values are not finite", hint="Look for NaN or infinity in it.")


def max_rank(file: Path, experts: int = 1) -> int:
    """Of the A factors that a safetensors file announces in its header; 0 without any. `experts`: of a mixture."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = _object(stream.read(length)) if length <= 8 * _MAX_TEXT else {}
    if not header:
        raise BadInput(f"{file.name} is no safetensors file", hint=_SAVE_AGAIN)
    ranks = (_rank(name, _shape(entry), experts) for name, entry in header.items() if ".lora_A." in name)
    return max(ranks, default=0)


def _rank(name: str, shape: list[int], experts: int) -> int:
    if len(shape) == 3:
        return shape[1]
    rows = shape[0] if shape else 0
    # PEFT puts the rows of all experts of a layer one behind the other.
    return -(-rows // experts) if name.partition(".lora_A.")[0].endswith((".experts", ".experts.base_layer")) else rows


def _experts(model: Path) -> int:
    file = model / "config.json"
    config = _object(file.read_bytes()) if file.is_file() else {}
    found = config.get("num_experts") or config.get("n_routed_experts")
    return found if isinstance(found, int) and found > 0 else 1


def _shape(entry: Any) -> list[int]:
    found: Any = cast(dict[str, Any], entry).get("shape") if isinstance(entry, dict) else None
    numbers = cast(list[Any], found) if isinstance(found, list) else []
    return [number for number in numbers if isinstance(number, int)]


def _object(text: bytes) -> dict[str, Any]:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput("A file of the adapter cannot be read", hint=_SAVE_AGAIN)
    return cast(dict[str, Any], found)


def unpack(archive: BinaryIO, into: Path) -> None:
    """Write FILES out of a .tar.gz into a folder, at whatever depth they lie; the rest is passed over.

    Raises BadInput for links, devices and paths that leave the archive, TooLarge for what unpacks to too much.
    """
    try:
        capped: Any = _Capped(gzip.GzipFile(fileobj=archive))
        with tarfile.open(fileobj=capped, mode="r|") as tar:
            for number, member in enumerate(tar):
                _check(number, member)
                name = PurePosixPath(member.name).name
                if member.isreg() and name in FILES:
                    _write(tar, member, into / name)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as problem:
        raise BadInput("This is not a whole .tar.gz archive", hint=_SAVE_AGAIN) from problem


def _check(number: int, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if number >= _MAX_MEMBERS:
        raise TooLarge(f"The archive holds more than {_MAX_MEMBERS} files", hint="Pack the adapter's folder alone.")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise BadInput(f"{member.name[:200]!r} in the archive is no plain file", hint="Pack without links.")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise BadInput(f"{member.name[:200]!r} leads out of the archive", hint="Pack with relative paths.")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    if to.exists():
        raise BadInput(f"{to.name} is in the archive twice", hint="Pack one adapter alone.")
    if to.name == CONFIG and member.size > _MAX_TEXT:
        raise TooLarge(f"{CONFIG} is larger than a megabyte", hint=_SAVE_AGAIN)
    content = tar.extractfile(member)
    assert content is not None  # it is a regular file
    with to.open("xb") as out:
        shutil.copyfileobj(content, out, _CHUNK)


class _Capped:
    """Stops a small archive that unpacks to more than there may be, before it is on the disk or in memory."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self._left = stream, MAX_UNPACKED

    def read(self, size: int) -> bytes:
        part = self._stream.read(size)
        self._left -= len(part)
        if self._left < 0:
            raise TooLarge(
                f"The archive unpacks to more than {MAX_UNPACKED >> 20} MB", hint="Pack the adapter's two files alone."
            )
        return part
