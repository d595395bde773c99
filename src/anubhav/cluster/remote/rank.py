"""One rank of a gang in a Ray actor: a `Worker` that gets folders, and gives them back, as parcels."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray
import ray.util
import torch.distributed as dist

from anubhav.cluster.remote.host import check_node, whereabouts
from anubhav.cluster.remote.parcels import pack, unpacked
from anubhav.cluster.sharded.crew import answer
from anubhav.cluster.sharded.worker import Address, Worker
from anubhav.errors import AnubhavError

PULSE = "pulse"
"""The group of calls that are answered beside one that is at work."""


class Rank:
    """Plain Python; `actors` makes one of it for each rank."""

    def __init__(self) -> None:
        self._worker = Worker()

    def meet(self, folder: Path, version: str, first: bool) -> Address | AnubhavError:  # noqa: FBT001 - by position
        """Where the ranks find one another if this is the first of them. A failure says why it cannot begin here."""
        return answer(self._meet, (folder, version, first), {})

    def _meet(self, folder: Path, version: str, first: bool) -> Address:  # noqa: FBT001
        check_node(folder, version)
        host = ray.util.get_node_ip_address()
        if not first:
            return Address(host, 0)
        self._store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)
        return Address(host, self._store.port)

    def ping(self) -> dict[str, Any]:
        return whereabouts()

    def do(self, method: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """What the worker answers, as `crew.answer` has it; of a save, what it wrote."""
        return answer(self._save if method == "save" else self._do, (method, args, named), {})

    def _do(self, method: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        with ExitStack() as folders:
            return getattr(self._worker, method)(*(_received(one, folders) for one in args), **named)

    def _save(self, _: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        with tempfile.TemporaryDirectory(prefix="anubhav-adapter-") as folder:
            (adapter,) = args
            self._worker.save(adapter, Path(folder), **named)
            return pack(Path(folder))


def _received(value: Any, folders: ExitStack) -> Any:
    """References to parcels as folders, which end with the stack."""
    if isinstance(value, ray.ObjectRef):
        return folders.enter_context(unpacked(ray.get(value)))
    if isinstance(value, tuple):
        return tuple(_received(one, folders) for one in value)
    return value
